//! Parameters of statements and columns of rows, for both databases.

use std::time::{SystemTime, UNIX_EPOCH};

use sqlx::postgres::{PgArguments, PgRow};
use sqlx::sqlite::{SqliteArguments, SqliteRow};
use sqlx::{Arguments, Encode, FromRow, Type};

use crate::ArchiveError;

/// A row that both databases can give: in practice a tuple.
pub(crate) trait Row:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

impl<T> Row for T where T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{}

/// One parameter.
#[derive(Debug, Clone)]
pub(crate) enum Value {
    Int(Option<i64>),
    Text(Option<String>),
    Flag(bool),
}

/// The parameters `$1`, `$2`, … of a statement.
macro_rules! values {
    ($($value:expr),* $(,)?) => {
        vec![$($crate::value::Value::from($value)),*]
    };
}
pub(crate) use values;

impl From<i64> for Value {
    fn from(value: i64) -> Self {
        Self::Int(Some(value))
    }
}

impl From<u64> for Value {
    fn from(value: u64) -> Self {
        Self::from(to_i64(value))
    }
}

impl From<usize> for Value {
    fn from(value: usize) -> Self {
        Self::from(value as u64)
    }
}

impl From<Option<i64>> for Value {
    fn from(value: Option<i64>) -> Self {
        Self::Int(value)
    }
}

impl From<&str> for Value {
    fn from(value: &str) -> Self {
        Self::Text(Some(value.to_owned()))
    }
}

impl From<String> for Value {
    fn from(value: String) -> Self {
        Self::Text(Some(value))
    }
}

impl From<Option<String>> for Value {
    fn from(value: Option<String>) -> Self {
        Self::Text(value)
    }
}

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Flag(value)
    }
}

/// Our numbers stay below 2^53; what does not is as good as the largest.
pub(crate) fn to_i64(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

/// Our columns hold no negative numbers.
pub(crate) fn to_u64(value: i64) -> u64 {
    u64::try_from(value).unwrap_or_default()
}

/// PostgreSQL has no text with a zero byte.
pub(crate) fn without_zero(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

pub(crate) fn sqlite_arguments(values: Vec<Value>) -> Result<SqliteArguments, ArchiveError> {
    let mut arguments = SqliteArguments::default();
    bind(&mut arguments, values)?;
    Ok(arguments)
}

pub(crate) fn postgres_arguments(values: Vec<Value>) -> Result<PgArguments, ArchiveError> {
    let mut arguments = PgArguments::default();
    bind(&mut arguments, values)?;
    Ok(arguments)
}

fn bind<A>(arguments: &mut A, values: Vec<Value>) -> Result<(), ArchiveError>
where
    A: Arguments,
    Option<i64>: for<'v> Encode<'v, A::Database> + Type<A::Database>,
    Option<String>: for<'v> Encode<'v, A::Database> + Type<A::Database>,
    bool: for<'v> Encode<'v, A::Database> + Type<A::Database>,
{
    for value in values {
        let added = match value {
            Value::Int(value) => arguments.add(value),
            Value::Text(value) => arguments.add(value),
            Value::Flag(value) => arguments.add(value),
        };
        added.map_err(sqlx::Error::Encode)?;
    }
    Ok(())
}

/// Milliseconds since 1970 by this machine's clock.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
