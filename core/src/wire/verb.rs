//! Questions: a verb and its fields in one JSON object.

use std::fmt;

use serde::de::{DeserializeOwned, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// A question to the broker. The caller is never a field of it: the kernel tells the broker who the caller is.
pub trait Verb: Serialize + DeserializeOwned {
    /// The name of the verb in a question.
    const NAME: &'static str;
    /// The key of the answer in a reply.
    const ANSWER: &'static str;
    /// The type of a successful answer.
    type Answer: Serialize + DeserializeOwned;

    /// Returns the question in bytes.
    ///
    /// # Errors
    /// Fails if the verb does not serialize to a JSON object (a bug).
    fn to_question(&self) -> Result<Vec<u8>, serde_json::Error> {
        let Value::Object(mut fields) = serde_json::to_value(self)? else {
            return Err(serde::ser::Error::custom("a verb is an object"));
        };
        fields.insert("verb".to_owned(), Value::from(Self::NAME));
        serde_json::to_vec(&fields)
    }
}

/// Declares a verb: its name, its type, the key of its answer, and the type of the answer.
macro_rules! verb {
    ($name:literal, $verb:ty => $word:literal, $answer:ty) => {
        impl $crate::wire::Verb for $verb {
            const NAME: &'static str = $name;
            const ANSWER: &'static str = $word;
            type Answer = $answer;
        }
    };
}
pub(super) use verb;

/// A question whose verb is not looked up yet.
#[derive(Debug)]
pub struct Question {
    verb: String,
    fields: Map<String, Value>,
}

impl Question {
    /// Returns its verb, which may not exist.
    pub fn verb(&self) -> &str {
        &self.verb
    }

    /// Returns the question as this verb.
    ///
    /// # Errors
    /// Fails if fields are missing, unknown, or invalid.
    pub fn read<V: Verb>(self) -> Result<V, serde_json::Error> {
        V::deserialize(Value::Object(self.fields))
    }
}

impl<'de> Deserialize<'de> for Question {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Question;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with a verb")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Question, A::Error> {
                let mut fields = Map::new();
                while let Some((name, value)) = access.next_entry::<String, Value>()? {
                    if fields.contains_key(&name) {
                        return Err(A::Error::custom(format_args!("duplicate field `{name}`")));
                    }
                    fields.insert(name, value);
                }
                match fields.remove("verb") {
                    Some(Value::String(verb)) => Ok(Question { verb, fields }),
                    Some(_) => Err(A::Error::custom("the verb is not a string")),
                    None => Err(A::Error::missing_field("verb")),
                }
            }
        }

        deserializer.deserialize_map(Fields)
    }
}
