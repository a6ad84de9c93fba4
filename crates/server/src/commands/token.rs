//! `hubbub token`: a token for somebody.

use hubbub_gateway::auth::{Auth, AuthError, Grant, TokenError};
use hubbub_node::RoomGrant;
use hubbub_protocol::{InvalidId, RoomId, UserId};

use super::{CommandError, print};
use crate::cli::TokenArgs;

/// Why there is no token.
#[derive(Debug, thiserror::Error)]
pub(crate) enum MintError {
    #[error("auth.secret is not set: tokens are signed with it (HUBBUB__AUTH__SECRET=…)")]
    NoSecret,
    #[error("--sub: {0}")]
    Subject(InvalidId),
    #[error("--room {0}: expected PATTERN=RIGHTS, such as lobby=rw or 'team-*=r'")]
    Room(String),
    #[error("--ttl: the token would have expired at once")]
    Lifetime,
    #[error(transparent)]
    Auth(#[from] AuthError),
    #[error(transparent)]
    Token(#[from] TokenError),
}

pub(crate) fn token(args: &TokenArgs) -> Result<(), CommandError> {
    let settings = args.settings.load()?.settings;
    if settings.auth.secret.is_empty() {
        return Err(MintError::NoSecret.into());
    }
    let auth = Auth::new(&settings.auth).map_err(MintError::from)?;
    let (token, _expires) = auth.mint(grant(args)?).map_err(MintError::from)?;
    print(&format!("{token}\n"))?;
    Ok(())
}

fn grant(args: &TokenArgs) -> Result<Grant, MintError> {
    if args.ttl.as_secs() == 0 {
        return Err(MintError::Lifetime);
    }
    let rooms = args
        .rooms
        .iter()
        .map(|room| room_grant(room))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Grant {
        sub: UserId::new(&args.sub).map_err(MintError::Subject)?,
        name: args.name.clone(),
        rooms: (!rooms.is_empty()).then_some(rooms),
        lifetime: args.ttl,
    })
}

fn room_grant(text: &str) -> Result<RoomGrant, MintError> {
    let bad = || MintError::Room(text.to_owned());
    let (room, rights) = text.split_once('=').ok_or_else(bad)?;
    let name = room.strip_suffix('*').unwrap_or(room);
    // `*` alone means every room.
    if name.is_empty() != (room == "*") || (!name.is_empty() && RoomId::new(name).is_err()) {
        return Err(bad());
    }
    Ok(RoomGrant {
        room: room.to_owned(),
        rights: rights.to_owned().try_into().map_err(|_| bad())?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rooms_are_patterns_with_rights() {
        let grant = room_grant("team-*=rw").unwrap();
        assert_eq!(
            (grant.room.as_str(), grant.rights.as_str()),
            ("team-*", "rw")
        );
        assert_eq!(room_grant("*=r").unwrap().room, "*");
        for bad in [
            "lobby", "lobby=x", "lobby=", "=rw", "a b=r", "a*b=r", "a/*=r",
        ] {
            assert!(matches!(room_grant(bad), Err(MintError::Room(_))), "{bad}");
        }
    }
}
