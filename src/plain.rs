//! Values that are a string: they are recorded as they are, and need no JSON in between.

use std::fmt::{self, Display};

use serde::ser::{Error, Impossible, Serialize, Serializer};

/// Gives the string that a value is, and fails for everything else.
pub(crate) struct Plain;

/// The value is not a string.
#[derive(Debug)]
pub(crate) struct NoString;

type Never = Impossible<String, NoString>;
type Text = Result<String, NoString>;

impl Serializer for Plain {
    type Ok = String;
    type Error = NoString;
    type SerializeSeq = Never;
    type SerializeTuple = Never;
    type SerializeTupleStruct = Never;
    type SerializeTupleVariant = Never;
    type SerializeMap = Never;
    type SerializeStruct = Never;
    type SerializeStructVariant = Never;

    fn serialize_str(self, text: &str) -> Text {
        Ok(text.to_owned())
    }

    fn serialize_char(self, text: char) -> Text {
        Ok(text.to_string())
    }

    fn serialize_unit_variant(self, _: &str, _: u32, variant: &str) -> Text {
        Ok(variant.to_owned())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Text {
        value.serialize(self)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &str, value: &T) -> Text {
        value.serialize(self)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Text {
        Ok(value.to_string())
    }

    fn serialize_bool(self, _: bool) -> Text {
        Err(NoString)
    }

    fn serialize_i8(self, _: i8) -> Text {
        Err(NoString)
    }

    fn serialize_i16(self, _: i16) -> Text {
        Err(NoString)
    }

    fn serialize_i32(self, _: i32) -> Text {
        Err(NoString)
    }

    fn serialize_i64(self, _: i64) -> Text {
        Err(NoString)
    }

    fn serialize_u8(self, _: u8) -> Text {
        Err(NoString)
    }

    fn serialize_u16(self, _: u16) -> Text {
        Err(NoString)
    }

    fn serialize_u32(self, _: u32) -> Text {
        Err(NoString)
    }

    fn serialize_u64(self, _: u64) -> Text {
        Err(NoString)
    }

    fn serialize_f32(self, _: f32) -> Text {
        Err(NoString)
    }

    fn serialize_f64(self, _: f64) -> Text {
        Err(NoString)
    }

    fn serialize_bytes(self, _: &[u8]) -> Text {
        Err(NoString)
    }

    fn serialize_none(self) -> Text {
        Err(NoString)
    }

    fn serialize_unit(self) -> Text {
        Err(NoString)
    }

    fn serialize_unit_struct(self, _: &str) -> Text {
        Err(NoString)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(self, _: &str, _: u32, _: &str, _: &T) -> Text {
        Err(NoString)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Never, NoString> {
        Err(NoString)
    }

    fn serialize_tuple(self, _: usize) -> Result<Never, NoString> {
        Err(NoString)
    }

    fn serialize_tuple_struct(self, _: &str, _: usize) -> Result<Never, NoString> {
        Err(NoString)
    }

    fn serialize_tuple_variant(self, _: &str, _: u32, _: &str, _: usize) -> Result<Never, NoString> {
        Err(NoString)
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Never, NoString> {
        Err(NoString)
    }

    fn serialize_struct(self, _: &str, _: usize) -> Result<Never, NoString> {
        Err(NoString)
    }

    fn serialize_struct_variant(self, _: &str, _: u32, _: &str, _: usize) -> Result<Never, NoString> {
        Err(NoString)
    }
}

impl Error for NoString {
    fn custom<T: Display>(_: T) -> Self {
        Self
    }
}

impl std::error::Error for NoString {}

impl Display for NoString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a string")
    }
}
