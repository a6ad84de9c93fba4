//! `hubbub token`: a token for somebody.

use hubbub_gateway::auth::{AuthError, Grant, TokenError};
use hubbub_node::{BadGrant, Rights, RoomGrants};
use hubbub_protocol::{InvalidId, UserId};

use super::process::print;
use crate::args::TokenArgs;
use crate::config::ConfigError;

/// The reason why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MintError {
    #[error(
        "there is nothing to sign with: set auth.secret (HUBBUB__AUTH__SECRET=…) or auth.private_key"
    )]
    NoSecret,
    #[error("--sub: {0}")]
    Subject(InvalidId),
    #[error("--room {0}: expected PATTERN=RIGHTS, such as lobby=rw or 'team-*=r'")]
    Room(String),
    #[error("--room: {0}")]
    Rooms(#[from] BadGrant),
    #[error("--ttl: the token would have expired at once")]
    Lifetime,
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error(transparent)]
    Token(#[from] TokenError),
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
}

pub(crate) fn token(args: &TokenArgs) -> Result<(), MintError> {
    let settings = args.settings.load()?.settings;
    if settings.auth.secret.is_empty() && settings.auth.private_key.is_empty() {
        return Err(MintError::NoSecret);
    }
    let auth = settings.make_auth()?;
    let (token, _expires) = auth.mint(&grant(args)?)?;
    print(&format!("{token}\n"))?;
    Ok(())
}

fn grant(args: &TokenArgs) -> Result<Grant, MintError> {
    if args.ttl.as_secs() == 0 {
        return Err(MintError::Lifetime);
    }
    let rooms = match args.rooms.as_slice() {
        [] => None,
        rooms => Some(room_grants(rooms)?),
    };
    Ok(Grant {
        sub: UserId::new(&args.sub).map_err(MintError::Subject)?,
        name: args.name.clone(),
        rooms,
        lifetime: args.ttl,
    })
}

fn room_grants(rooms: &[String]) -> Result<RoomGrants, MintError> {
    let grants = rooms.iter().map(|room| room_grant(room));
    Ok(RoomGrants::new(grants.collect::<Result<Vec<_>, _>>()?)?)
}

fn room_grant(text: &str) -> Result<(String, Rights), MintError> {
    let bad = || MintError::Room(text.to_owned());
    let (pattern, rights) = text.split_once('=').ok_or_else(bad)?;
    let rights = rights.to_owned().try_into().map_err(|_| bad())?;
    Ok((pattern.to_owned(), rights))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(rooms: &[&str]) -> Result<RoomGrants, String> {
        let rooms: Vec<String> = rooms.iter().map(|&room| room.to_owned()).collect();
        room_grants(&rooms).map_err(|error| error.to_string())
    }

    #[test]
    fn rooms_are_patterns_with_rights() {
        let grants = grants(&["team-*=rw", "*=r", "team-secret="]).unwrap();
        let list: Vec<_> = grants
            .iter()
            .map(|(it, rights)| (it, rights.as_str()))
            .collect();
        assert_eq!(list, [("team-*", "rw"), ("*", "r"), ("team-secret", "")]);
    }

    #[test]
    fn what_is_no_pattern_or_no_rights_is_named() {
        for bad in ["lobby", "lobby=x", "=rw", "a b=r", "a*b=r", "a/*=r"] {
            let error = grants(&[bad]).unwrap_err();
            let pattern = bad.split('=').next().unwrap();
            assert!(error.contains(pattern), "{error}");
        }
        assert!(grants(&["a=r", "a=rw"]).unwrap_err().contains("twice"));
    }
}
