//! From nothing to two services on five hosts, with everything going wrong.
