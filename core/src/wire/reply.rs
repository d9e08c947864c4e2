//! Replies: the answer to a verb, or an error.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Error as _, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Verb;

/// The broker's reply: one line of JSON.
#[derive(Debug)]
pub enum Reply<V: Verb> {
    /// Success; the exit status of the tool is 0.
    Ok(V::Answer),
    /// Failure; nothing has changed.
    Error(Failure),
}

/// A refusal or an error, with the text that the user sees.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Failure {
    /// A stable code for programs, such as `not-eligible`, `unknown-id`, `not-an-approver`.
    pub code: String,
    /// One line without prefix and full stop.
    pub message: String,
    /// What to type instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// The exit status: 1 refused or failed, 2 usage.
    pub exit: u8,
}

/// The two forms of a reply in JSON.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Form<A> {
    Ok(A),
    Error(Failure),
}

/// An answer under the key of its verb, for reading.
struct Named<V: Verb>(V::Answer);

/// An answer under the key of its verb, for writing.
struct NamedRef<'a, V: Verb>(&'a V::Answer);

impl<V: Verb> Serialize for Reply<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Ok(answer) => Form::Ok(NamedRef::<V>(answer)).serialize(serializer),
            Self::Error(failure) => Form::<()>::Error(failure.clone()).serialize(serializer),
        }
    }
}

impl<'de, V: Verb> Deserialize<'de> for Reply<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match Form::<Named<V>>::deserialize(deserializer)? {
            Form::Ok(Named(answer)) => Self::Ok(answer),
            Form::Error(failure) => Self::Error(failure),
        })
    }
}

impl<V: Verb> Serialize for NamedRef<'_, V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(1))?;
        map.serialize_entry(V::ANSWER, self.0)?;
        map.end()
    }
}

impl<'de, V: Verb> Deserialize<'de> for Named<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct One<V>(PhantomData<V>);

        impl<'de, V: Verb> Visitor<'de> for One<V> {
            type Value = Named<V>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an object with `{}` alone", V::ANSWER)
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Named<V>, A::Error> {
                match access.next_key::<String>()? {
                    Some(word) if word == V::ANSWER => {}
                    Some(word) => return Err(A::Error::custom(format_args!("the answer to another verb: `{word}`"))),
                    None => return Err(A::Error::missing_field(V::ANSWER)),
                }
                let answer = access.next_value()?;
                match access.next_key::<String>()? {
                    Some(word) => Err(A::Error::custom(format_args!("a second answer `{word}`"))),
                    None => Ok(Named(answer)),
                }
            }
        }

        deserializer.deserialize_map(One(PhantomData))
    }
}
