//! The client's own script, as its npm package has it: `/socket.io/socket.io.js`.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{Path as UrlPath, State};
use axum::http::header::{
    ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use tokio::sync::Mutex;

use crate::conditional;

/// The files that were there when this was built: see `build.rs`.
const BUILT_IN: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/socketio_client.rs"));

/// The files of the package's folder `dist` that there are to ask for.
const NAMES: [&str; 8] = [
    "socket.io.js",
    "socket.io.js.map",
    "socket.io.min.js",
    "socket.io.min.js.map",
    "socket.io.esm.min.js",
    "socket.io.esm.min.js.map",
    "socket.io.msgpack.min.js",
    "socket.io.msgpack.min.js.map",
];

/// The advice for a person who finds nothing here.
const HOW_TO_GET_IT: &str = "the Socket.IO client is not part of this build.\n\n\
    Either get its package, with npm install socket.io-client@4, and set socketio.client_dir to \
    its folder node_modules/socket.io-client/dist; or load the script from where your page's \
    other scripts come from. A Hubbub that was built where npm was at hand has it built in.\n";

/// Between two reads of a file in `socketio.client_dir`, however many clients ask for it.
const READ_PAUSE: Duration = Duration::from_secs(1);

/// The files of the client, from the folder or from this program, each with its tag.
#[derive(Debug)]
pub(crate) struct ClientFiles {
    folder: Option<PathBuf>,
    /// The newest read of each file.
    reads: Mutex<HashMap<&'static str, FileRead>>,
}

/// A read of a file.
#[derive(Debug)]
struct FileRead {
    /// `None`: the file was not there.
    file: Option<ClientFile>,
    at: Instant,
}

/// A file and its tag.
#[derive(Debug, Clone)]
struct ClientFile {
    data: Bytes,
    tag: HeaderValue,
}

impl ClientFiles {
    pub(crate) fn new(client_dir: &str) -> Arc<Self> {
        let folder = (!client_dir.is_empty()).then(|| PathBuf::from(client_dir));
        if let Some(folder) = folder.as_deref().filter(|folder| !has_script(folder)) {
            tracing::warn!(folder = %folder.display(), "socketio.client_dir has no socket.io.js");
        }
        Arc::new(Self {
            folder,
            reads: Mutex::default(),
        })
    }

    /// Finds a file. Nobody pays for these requests, so each file is read and tagged once, or once a
    /// second where it may change.
    async fn find(&self, name: &'static str) -> Option<ClientFile> {
        let mut reads = self.reads.lock().await;
        let is_recent = |read: &&FileRead| self.folder.is_none() || read.at.elapsed() < READ_PAUSE;
        if let Some(read) = reads.get(name).filter(is_recent) {
            return read.file.clone();
        }
        let data = self.read(name).await;
        let file = data.map(|data| ClientFile {
            tag: conditional::tag(&data),
            data,
        });
        let read = FileRead {
            file: file.clone(),
            at: Instant::now(),
        };
        reads.insert(name, read);
        file
    }

    async fn read(&self, name: &str) -> Option<Bytes> {
        if let Some(folder) = &self.folder {
            return tokio::fs::read(folder.join(name))
                .await
                .ok()
                .map(Bytes::from);
        }
        let (_, data) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name)?;
        Some(Bytes::from_static(data))
    }
}

fn has_script(folder: &Path) -> bool {
    folder.join(NAMES[0]).is_file()
}

/// `GET /socket.io/{file}`.
pub(crate) async fn get_client(
    State(files): State<Arc<ClientFiles>>,
    UrlPath(name): UrlPath<String>,
    asked: HeaderMap,
) -> Response {
    let known = NAMES.into_iter().find(|known| *known == name);
    let found = match known {
        Some(name) => files.find(name).await,
        None => None,
    };
    let Some(ClientFile { data, tag }) = found else {
        let text = match known {
            Some(_) => HOW_TO_GET_IT,
            None => "there is nothing here\n",
        };
        let kind = [(CONTENT_TYPE, "text/plain; charset=utf-8")];
        return (StatusCode::NOT_FOUND, kind, text).into_response();
    };
    let kind = if name.ends_with(".map") {
        "application/json; charset=utf-8"
    } else {
        "text/javascript; charset=utf-8"
    };
    let headers = [
        (CONTENT_TYPE, kind),
        (CACHE_CONTROL, "no-cache"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // Anybody's page may load it; it holds no secret.
        (ACCESS_CONTROL_ALLOW_ORIGIN, "*"),
    ];
    let found = (headers, [(ETAG, tag)], data).into_response();
    conditional::tagged(found, asked.get(IF_NONE_MATCH)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_come_from_the_folder_and_nothing_lies_outside() {
        let folder = std::env::temp_dir().join(format!("hubbub-client-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("socket.io.js"), "script").unwrap();
        std::fs::write(folder.join("other.js"), "other").unwrap();
        let files = ClientFiles::new(&folder.to_string_lossy());
        let mut asked = HeaderMap::new();
        let get = async |name: &str, asked: &HeaderMap| {
            let name = UrlPath(name.to_owned());
            get_client(State(Arc::clone(&files)), name, asked.clone()).await
        };
        let found = get("socket.io.js", &asked).await;
        assert_eq!(found.status(), StatusCode::OK);
        assert_eq!(
            found.headers()[CONTENT_TYPE],
            "text/javascript; charset=utf-8"
        );
        asked.insert(IF_NONE_MATCH, found.headers()[ETAG].clone());
        let again = get("socket.io.js", &asked).await;
        assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
        // A file that was read a moment ago is not read again.
        std::fs::remove_file(folder.join("socket.io.js")).unwrap();
        assert_eq!(
            get("socket.io.js", &asked).await.status(),
            StatusCode::NOT_MODIFIED
        );
        for absent in [
            "socket.io.min.js",
            "other.js",
            "../Cargo.toml",
            "/etc/passwd",
        ] {
            assert_eq!(
                get(absent, &asked).await.status(),
                StatusCode::NOT_FOUND,
                "{absent}"
            );
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
