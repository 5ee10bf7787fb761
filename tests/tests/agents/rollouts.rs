//! Steps on hosts, while what drives them is killed.
