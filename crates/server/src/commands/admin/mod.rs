//! `hubbub admin`: the admin API of a node, for people and scripts.

mod args;
mod client;
mod error;
mod settings;
mod table;

use serde_json::{Map, Value, json};
use tokio::runtime::Builder;

pub(crate) use self::args::{ADMIN_HELP, AdminArgs};
use self::args::{AdminCommand, PageArgs, SubjectArgs, TokensArgs};
use self::client::{Answer, Client};
pub(crate) use self::error::AdminError;
use super::process::print;
use crate::args::environment;
use crate::config::{SettingsFile, Sources, load};

/// A request to the node.
struct Ask {
    method: &'static str,
    path: String,
    body: Option<Value>,
}

pub(crate) fn admin(args: &AdminArgs) -> Result<(), AdminError> {
    let client = client(args)?;
    let ask = ask(&args.command);
    let answer = Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(client.ask(ask.method, &ask.path, ask.body.as_ref()))?;
    let Answer { status, body } = answer;
    if status != 200 {
        let detail = body["detail"]
            .as_str()
            .unwrap_or("no reason given")
            .to_owned();
        return Err(AdminError::Refused { status, detail });
    }
    let text = if args.json {
        format!("{body:#}\n")
    } else if matches!(args.command, AdminCommand::Settings) {
        settings::print(&body)
    } else {
        table::print(&args.command, &body)
    };
    print(&text)?;
    Ok(())
}

fn client(args: &AdminArgs) -> Result<Client, AdminError> {
    let file = args.config.clone();
    let settings = load(&Sources {
        file: file.map_or(SettingsFile::Usual, SettingsFile::Named),
        env: environment(),
        flags: Vec::new(),
    })?
    .settings;
    if settings.ops.token.is_empty() {
        return Err(AdminError::NoKey);
    }
    let url = match &args.url {
        Some(url) => url.clone(),
        None => url_of(&settings.ops.bind).ok_or(AdminError::NoPort)?,
    };
    Client::new(&url, &settings.ops.token)
}

/// Where a node on this machine answers that listens on `bind`.
fn url_of(bind: &str) -> Option<String> {
    let (host, port) = bind.rsplit_once(':')?;
    let host = match host {
        "0.0.0.0" => "127.0.0.1",
        "[::]" => "[::1]",
        host => host,
    };
    Some(format!("http://{host}:{port}"))
}

fn ask(command: &AdminCommand) -> Ask {
    match command {
        AdminCommand::Nodes => get("/admin/nodes", &[]),
        AdminCommand::Settings => get("/admin/settings", &[]),
        AdminCommand::Connections {
            user,
            room,
            node,
            page,
        } => {
            let mut query = vec![("user", user.clone()), ("room", room.clone())];
            query.push(("node", node.clone()));
            query.extend(paging(page));
            get("/admin/connections", &query)
        }
        AdminCommand::Rooms(page) => get("/admin/rooms", &paging(page)),
        AdminCommand::Bans(page) => get("/admin/bans", &paging(page)),
        AdminCommand::Audit { before, limit } => {
            let query = [("before", before), ("limit", limit)];
            let query = query.map(|(name, value)| (name, value.map(|value| value.to_string())));
            get("/admin/audit", &query)
        }
        AdminCommand::Kick { user, room, ttl } => {
            let body = json!({ "user": user, "room": room, "ttl": ttl });
            post("/admin/kick", body)
        }
        AdminCommand::Ban {
            subject,
            ttl,
            reason,
        } => {
            let mut body = subject_body(subject);
            body["ttl"] = json!(ttl);
            body["reason"] = json!(reason);
            post("/admin/ban", body)
        }
        AdminCommand::Unban(subject) => delete("/admin/ban", subject_body(subject)),
        AdminCommand::Mute {
            user,
            room,
            ttl,
            reason,
        } => {
            let body = json!({ "user": user, "room": room, "ttl": ttl, "reason": reason });
            post("/admin/mute", body)
        }
        AdminCommand::Unmute { user, room } => {
            delete("/admin/mute", json!({ "user": user, "room": room }))
        }
        AdminCommand::Revoke { tokens, ttl } => {
            let mut body = tokens_body(tokens);
            body["ttl"] = json!(ttl);
            post("/admin/revoke", body)
        }
        AdminCommand::Unrevoke(tokens) => delete("/admin/revoke", tokens_body(tokens)),
        AdminCommand::Announce { text, room } => {
            post("/admin/announce", json!({ "text": text, "room": room }))
        }
        AdminCommand::Delete { room, offset } => Ask {
            method: "DELETE",
            path: format!("/admin/rooms/{}/messages/{offset}", client::escape(room)),
            body: None,
        },
        AdminCommand::Drain { node } => Ask {
            method: "POST",
            path: format!("/admin/nodes/{}/drain", client::escape(node)),
            body: None,
        },
    }
}

fn get(path: &str, query: &[(&str, Option<String>)]) -> Ask {
    let pair = |(name, value): &(&str, Option<String>)| {
        let value = client::escape(value.as_ref()?);
        Some(format!("{name}={value}"))
    };
    let query: Vec<String> = query.iter().filter_map(pair).collect();
    let path = if query.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", query.join("&"))
    };
    Ask {
        method: "GET",
        path,
        body: None,
    }
}

fn paging(page: &PageArgs) -> [(&'static str, Option<String>); 2] {
    let limit = page.limit.map(|limit| limit.to_string());
    [("after", page.after.clone()), ("limit", limit)]
}

fn post(path: &str, body: Value) -> Ask {
    with_body("POST", path, body)
}

fn delete(path: &str, body: Value) -> Ask {
    with_body("DELETE", path, body)
}

/// Parameters without a value are left out.
fn with_body(method: &'static str, path: &str, body: Value) -> Ask {
    let body = match body {
        Value::Object(fields) => {
            let said = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(said.collect::<Map<_, _>>())
        }
        other => other,
    };
    Ask {
        method,
        path: path.to_owned(),
        body: Some(body),
    }
}

fn subject_body(subject: &SubjectArgs) -> Value {
    json!({ "user": subject.user, "address": subject.address })
}

fn tokens_body(tokens: &TokensArgs) -> Value {
    json!({ "user": tokens.user, "token": tokens.token })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_said_is_not_sent() {
        let asked = ask(&AdminCommand::Ban {
            subject: SubjectArgs {
                user: Some("eve".to_owned()),
                address: None,
            },
            ttl: None,
            reason: None,
        });
        assert_eq!(
            (asked.method, asked.body),
            ("POST", Some(json!({"user": "eve"})))
        );
        let page = PageArgs {
            after: Some("a b&c".to_owned()),
            limit: None,
        };
        assert_eq!(
            ask(&AdminCommand::Rooms(page)).path,
            "/admin/rooms?after=a%20b%26c"
        );
    }

    #[test]
    fn a_node_on_this_machine_is_found_by_its_setting() {
        assert_eq!(
            url_of("0.0.0.0:9090").as_deref(),
            Some("http://127.0.0.1:9090")
        );
        assert_eq!(url_of("[::]:1").as_deref(), Some("http://[::1]:1"));
        assert_eq!(url_of("10.0.0.7:1").as_deref(), Some("http://10.0.0.7:1"));
        assert_eq!(url_of(""), None);
    }
}
