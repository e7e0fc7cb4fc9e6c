//! How a value that is read by hand describes itself in `completions/devstack.schema.json`.

/// In place rather than under a name: editors show it where the key is.
macro_rules! schema {
    ($type:ty, $($schema:tt)*) => {
        impl schemars::JsonSchema for $type {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($type).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!($($schema)*)
            }
        }
    };
}

pub(super) use schema;
