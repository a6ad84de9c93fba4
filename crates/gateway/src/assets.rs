//! The web client, the JavaScript SDK and the documentation, as files inside the binary.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG,
    IF_NONE_MATCH,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use rust_embed::{EmbeddedFile, RustEmbed};

use crate::auth::origin::{Origin, OriginError};
use crate::error::ApiError;
use crate::headers::make_safe;

/// Release builds embed the folder; debug builds read it from the disk.
#[derive(RustEmbed)]
#[folder = "../../static"]
struct Files;

const INDEX: &str = "index.html";
/// The line of the page that the addresses of this node's siblings are filled into.
const NODES_PLACEHOLDER: &str = r#"<meta name="hubbub-nodes" content="">"#;

/// The facts about this node that stand in the files.
#[derive(Debug)]
pub(crate) struct Assets {
    /// `content` of the `hubbub-nodes` tag: base URLs, separated by spaces.
    nodes: String,
    csp: HeaderValue,
}

impl Assets {
    pub(crate) fn new(public_urls: &[String]) -> Result<Self, OriginError> {
        let origins: Vec<Origin> = public_urls
            .iter()
            .map(|url| Origin::parse(url))
            .collect::<Result<_, _>>()?;
        let nodes = origins
            .iter()
            .map(Origin::to_string)
            .collect::<Vec<_>>()
            .join(" ");
        Ok(Self {
            nodes,
            csp: content_security_policy(&origins),
        })
    }

    /// A file and its entity tag.
    fn find(&self, path: &str) -> Option<(EmbeddedFile, String)> {
        let mut path = path.trim_start_matches('/');
        let folder = path.trim_end_matches('/');
        let inside = if folder.is_empty() {
            INDEX.to_owned()
        } else {
            format!("{folder}/{INDEX}")
        };
        let mut file = Files::get(path);
        if file.is_none() {
            path = &inside;
            file = Files::get(path);
        }
        let mut file = file?;
        let mut tag = hex(&file.metadata.sha256_hash()[..12]);
        if path == INDEX && !self.nodes.is_empty() {
            file.data = self.fill_in(&file.data);
            tag.push_str(&hex(&hash(&self.nodes).to_be_bytes()));
        }
        Some((file, format!("\"{tag}\"")))
    }

    /// Origins consist of letters, digits, dots, colons, dashes and brackets: nothing to escape.
    fn fill_in(&self, page: &[u8]) -> Cow<'static, [u8]> {
        let tag = NODES_PLACEHOLDER.replace("\"\"", &format!("\"{}\"", self.nodes));
        String::from_utf8_lossy(page)
            .replacen(NODES_PLACEHOLDER, &tag, 1)
            .into_bytes()
            .into()
    }
}

/// Scripts, styles and pictures come from this node only. Connections go to this node and to its
/// siblings: `'self'` covers WebSockets to the page's own origin, but a sibling has another port
/// or host, so each is named, as `http` for guest tokens and as `ws` for the chat.
fn content_security_policy(siblings: &[Origin]) -> HeaderValue {
    let connect: String = siblings
        .iter()
        .map(|sibling| format!(" {sibling} {}", sibling.websocket()))
        .collect();
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
         connect-src 'self'{connect}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    HeaderValue::try_from(policy).expect("origins are valid header text")
}

fn hash(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// `GET` of anything that is no API: the file of that name, or the folder's `index.html`.
pub(crate) async fn get_asset(State(assets): State<Arc<Assets>>, request: Request) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return ApiError::Method("GET, HEAD").into_response();
    }
    let path = request.uri().path();
    let Some((file, tag)) = assets.find(path) else {
        return ApiError::NotFound.into_response();
    };
    let mut headers = HeaderMap::new();
    make_safe(&mut headers);
    // Every use asks again whether the file has changed: a deploy is seen at once.
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(CONTENT_SECURITY_POLICY, assets.csp.clone());
    headers.insert(
        ETAG,
        HeaderValue::from_str(&tag).expect("quoted hexadecimal"),
    );
    if path.starts_with("/sdk/") {
        // Anybody's page may import the SDK; it holds no secret.
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
    }
    if is_known(request.headers(), &tag) {
        return (StatusCode::NOT_MODIFIED, headers).into_response();
    }
    headers.insert(CONTENT_TYPE, content_type(path, file.metadata.mimetype()));
    let body = match file.data {
        Cow::Borrowed(data) => Bytes::from_static(data),
        Cow::Owned(data) => data.into(),
    };
    (headers, body).into_response()
}

fn content_type(path: &str, guessed: &str) -> HeaderValue {
    // The guess is a kind of video.
    let is_types = path.ends_with(".d.ts");
    let mime = if is_types { "text/plain" } else { guessed };
    let is_text = mime.starts_with("text/") || mime == "application/json";
    let text = if is_text {
        format!("{mime}; charset=utf-8")
    } else {
        mime.to_owned()
    };
    HeaderValue::try_from(text).expect("media types are valid header text")
}

fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let lines = headers
        .get_all(IF_NONE_MATCH)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(',')).any(|known| {
        let known = known.trim();
        known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag
    })
}

#[cfg(test)]
mod tests {
    use axum::body::{Body, to_bytes};

    use super::*;

    async fn get(assets: &Arc<Assets>, path: &str, known: &str) -> Response {
        let request = Request::get(path)
            .header(IF_NONE_MATCH, known)
            .body(Body::empty())
            .unwrap();
        get_asset(State(Arc::clone(assets)), request).await
    }

    #[tokio::test]
    async fn the_page_names_the_siblings_and_may_connect_to_them() {
        let urls = [
            "http://127.0.0.1:3000/".to_owned(),
            "https://b.example".to_owned(),
        ];
        let assets = Arc::new(Assets::new(&urls).unwrap());
        let response = get(&assets, "/", "").await;
        assert_eq!(response.headers()[CONTENT_TYPE], "text/html; charset=utf-8");
        let csp = response.headers()[CONTENT_SECURITY_POLICY]
            .to_str()
            .unwrap()
            .to_owned();
        let connect = "connect-src 'self' http://127.0.0.1:3000 ws://127.0.0.1:3000 \
                       https://b.example wss://b.example;";
        assert!(csp.contains(connect), "{csp}");
        assert!(csp.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"));
        let page = to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let page = String::from_utf8(page.to_vec()).unwrap();
        let tag = r#"<meta name="hubbub-nodes" content="http://127.0.0.1:3000 https://b.example">"#;
        assert!(page.contains(tag), "the page holds the placeholder line");
    }

    #[tokio::test]
    async fn a_known_file_is_not_sent_again() {
        let assets = Arc::new(Assets::new(&[]).unwrap());
        let response = get(&assets, "/sdk/hubbub.js", "").await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(
            response.headers()[CONTENT_TYPE],
            "text/javascript; charset=utf-8"
        );
        assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        let tag = response.headers()[ETAG].to_str().unwrap().to_owned();
        for known in [tag.clone(), format!("\"x\", W/{tag}"), "*".to_owned()] {
            let response = get(&assets, "/sdk/hubbub.js", &known).await;
            assert_eq!(response.status(), StatusCode::NOT_MODIFIED, "{known}");
        }
        assert_eq!(
            get(&assets, "/sdk/hubbub.js", "\"x\"").await.status(),
            StatusCode::OK
        );
    }

    #[tokio::test]
    async fn a_folder_is_its_index_and_nothing_lies_outside() {
        let assets = Arc::new(Assets::new(&[]).unwrap());
        for path in ["/docs", "/docs/"] {
            assert_eq!(
                get(&assets, path, "").await.status(),
                StatusCode::OK,
                "{path}"
            );
        }
        for path in [
            "/nothing",
            "/../Cargo.toml",
            "/..%2fCargo.toml",
            "//etc/passwd",
            "/v1/nothing",
        ] {
            assert_eq!(
                get(&assets, path, "").await.status(),
                StatusCode::NOT_FOUND,
                "{path}"
            );
        }
    }
}
