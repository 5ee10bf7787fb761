//! What the store promises: the conformance kit, and what goes beyond it on real files.
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod crash;
#[cfg(test)]
mod disk;
#[cfg(test)]
mod garbage;
#[cfg(test)]
mod interleaving;
#[cfg(test)]
mod killed;
#[cfg(test)]
mod local;
#[cfg(test)]
mod parcel;
#[cfg(test)]
mod resume;
#[cfg(test)]
mod rot;
#[cfg(test)]
mod s3;
#[cfg(test)]
mod support;
