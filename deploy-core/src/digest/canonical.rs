//! The canonical encoding behind [`digest_of`](super::digest_of).
//!
//! Every value begins with a tag; texts and bytes say their length first; sequences, maps and structs are closed by a tag
//! that begins no value. So no two different values have the same encoding. What does not matter to a reader of the value
//! leaves no trace: the width of an integer, the name of a type, and fields that are skipped.
use super::{Digest, Hasher};
use serde::ser::{self, Serialize};
use std::fmt::Display;

/// Feeds values to a [`Hasher`].
#[derive(Debug, Default)]
pub(super) struct Canonical {
    hasher: Hasher,
    /// Not hashed yet: small pieces are gathered, for hashing each alone is slow.
    pending: Vec<u8>,
}

/// Why a value could not be encoded: its own `Serialize` said so.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Refusal(String);

impl ser::Error for Refusal {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

mod tag {
    pub(super) const ABSENT: u8 = b'-';
    pub(super) const BYTES: u8 = b'b';
    pub(super) const END: u8 = b'.';
    pub(super) const FALSE: u8 = b'f';
    pub(super) const FLOAT: u8 = b'd';
    pub(super) const MAP: u8 = b'm';
    pub(super) const NEGATIVE: u8 = b'n';
    pub(super) const POSITIVE: u8 = b'p';
    pub(super) const PRESENT: u8 = b'+';
    pub(super) const REFUSED: u8 = b'!';
    pub(super) const SEQUENCE: u8 = b'[';
    pub(super) const STRUCT: u8 = b'{';
    pub(super) const TEXT: u8 = b't';
    pub(super) const TRUE: u8 = b'y';
    pub(super) const UNIT: u8 = b'u';
    pub(super) const VARIANT: u8 = b'v';
}

impl Canonical {
    const PENDING_MAX: usize = 8 * 1024;

    /// The digest of `value`. If its `Serialize` refuses, that of what it said until then, and of why.
    pub(super) fn digest<T: Serialize + ?Sized>(value: &T) -> Digest {
        let mut canonical = Self::default();
        if let Err(Refusal(reason)) = value.serialize(&mut canonical) {
            canonical.tag(tag::REFUSED);
            canonical.text(&reason);
        }
        canonical.hasher.update(&canonical.pending);
        canonical.hasher.finish()
    }

    fn tag(&mut self, tag: u8) {
        self.put(&[tag]);
    }

    fn put(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        if self.pending.len() >= Self::PENDING_MAX {
            self.hasher.update(&self.pending);
            self.pending.clear();
        }
    }

    /// Seven bits a byte, the lowest first, with the high bit on all but the last.
    fn number(&mut self, mut number: u128) {
        while number > 0x7f {
            self.tag((number & 0x7f) as u8 | 0x80);
            number >>= 7;
        }
        self.tag(number as u8);
    }

    fn sized(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u128);
        self.put(bytes);
    }

    fn text(&mut self, text: &str) {
        self.tag(tag::TEXT);
        self.sized(text.as_bytes());
    }

    fn positive(&mut self, number: u128) {
        self.tag(tag::POSITIVE);
        self.number(number);
    }

    fn signed(&mut self, number: i128) {
        match u128::try_from(number) {
            Ok(number) => self.positive(number),
            Err(_) => {
                self.tag(tag::NEGATIVE);
                self.number(number.unsigned_abs());
            }
        }
    }

    fn variant(&mut self, name: &str) {
        self.tag(tag::VARIANT);
        self.sized(name.as_bytes());
    }

    fn end(&mut self) -> Result<(), Refusal> {
        self.tag(tag::END);
        Ok(())
    }
}

/// An integer is its number, whatever its width.
macro_rules! integers {
    ($($put:ident: $($serialize:ident($Integer:ty))+;)+) => { $($(
        fn $serialize(self, value: $Integer) -> Result<(), Refusal> {
            self.$put(value.into());
            Ok(())
        }
    )+)+ };
}

impl ser::Serializer for &mut Canonical {
    type Ok = ();
    type Error = Refusal;
    type SerializeSeq = Self;
    type SerializeTuple = Self;
    type SerializeTupleStruct = Self;
    type SerializeTupleVariant = Self;
    type SerializeMap = Self;
    type SerializeStruct = Self;
    type SerializeStructVariant = Self;

    fn serialize_bool(self, value: bool) -> Result<(), Refusal> {
        self.tag(if value { tag::TRUE } else { tag::FALSE });
        Ok(())
    }

    integers! {
        signed: serialize_i8(i8) serialize_i16(i16) serialize_i32(i32) serialize_i64(i64) serialize_i128(i128);
        positive: serialize_u8(u8) serialize_u16(u16) serialize_u32(u32) serialize_u64(u64) serialize_u128(u128);
    }

    fn serialize_f32(self, value: f32) -> Result<(), Refusal> {
        self.serialize_f64(value.into())
    }

    /// By its bits: exact, but `0.0` and `-0.0` differ.
    fn serialize_f64(self, value: f64) -> Result<(), Refusal> {
        self.tag(tag::FLOAT);
        self.put(&value.to_bits().to_be_bytes());
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), Refusal> {
        self.text(value.encode_utf8(&mut [0; 4]));
        Ok(())
    }

    fn serialize_str(self, value: &str) -> Result<(), Refusal> {
        self.text(value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), Refusal> {
        self.tag(tag::BYTES);
        self.sized(value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Refusal> {
        self.tag(tag::ABSENT);
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Refusal> {
        self.tag(tag::PRESENT);
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Refusal> {
        self.tag(tag::UNIT);
        Ok(())
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Refusal> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), Refusal> {
        self.variant(variant);
        self.serialize_unit()
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        value: &T,
    ) -> Result<(), Refusal> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Refusal> {
        self.variant(variant);
        value.serialize(self)
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Self, Refusal> {
        self.tag(tag::SEQUENCE);
        Ok(self)
    }

    fn serialize_tuple(self, len: usize) -> Result<Self, Refusal> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(self, _name: &'static str, len: usize) -> Result<Self, Refusal> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self, Refusal> {
        self.variant(variant);
        self.serialize_seq(Some(len))
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Self, Refusal> {
        self.tag(tag::MAP);
        Ok(self)
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Self, Refusal> {
        self.tag(tag::STRUCT);
        Ok(self)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        _index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self, Refusal> {
        self.variant(variant);
        self.serialize_struct(name, len)
    }
}

/// What is in a sequence, one after another.
macro_rules! elements {
    ($($Compound:ident: $serialize:ident;)+) => { $(
        impl ser::$Compound for &mut Canonical {
            type Ok = ();
            type Error = Refusal;

            fn $serialize<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refusal> {
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), Refusal> {
                Canonical::end(self)
            }
        }
    )+ };
}

elements! {
    SerializeSeq: serialize_element;
    SerializeTuple: serialize_element;
    SerializeTupleStruct: serialize_field;
    SerializeTupleVariant: serialize_field;
}

/// What is in a struct, each under its name.
macro_rules! fields {
    ($($Compound:ident)+) => { $(
        impl ser::$Compound for &mut Canonical {
            type Ok = ();
            type Error = Refusal;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Refusal> {
                self.text(name);
                value.serialize(&mut **self)
            }

            fn end(self) -> Result<(), Refusal> {
                Canonical::end(self)
            }
        }
    )+ };
}

fields! { SerializeStruct SerializeStructVariant }

impl ser::SerializeMap for &mut Canonical {
    type Ok = ();
    type Error = Refusal;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Refusal> {
        key.serialize(&mut **self)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refusal> {
        value.serialize(&mut **self)
    }

    fn end(self) -> Result<(), Refusal> {
        Canonical::end(self)
    }
}
