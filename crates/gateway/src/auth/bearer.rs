//! Where a request carries its token: in a header, in a cookie where that may be believed, and never
//! in its address.

use axum::extract::Query;
use axum::http::header::{AUTHORIZATION, COOKIE, HeaderName};
use axum::http::{HeaderMap, Uri};

use crate::error::ApiError;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Where people try to put a token, and where it would end in logs.
const QUERY_TOKENS: [&str; 3] = ["token", "access_token", "jwt"];

/// `Authorization: Bearer`, then the cookie of this name, if one counts.
pub(crate) fn token<'a>(headers: &'a HeaderMap, cookie_name: Option<&str>) -> Option<&'a str> {
    bearer(headers).or_else(|| cookie(headers, cookie_name?))
}

/// Whether the browser says that one of our own pages asks; it sends no `Origin` with a plain `GET`.
pub(crate) fn is_same_origin(headers: &HeaderMap) -> bool {
    headers
        .get(SEC_FETCH_SITE)
        .is_some_and(|site| site == "same-origin")
}

/// The query's names and values, in their order; refused if a token is among them.
pub(crate) fn query_without_token(uri: &Uri) -> Result<Vec<(String, String)>, ApiError> {
    let Ok(Query(pairs)) = Query::<Vec<(String, String)>>::try_from_uri(uri) else {
        let unreadable = "the query string cannot be read";
        return Err(ApiError::BadRequest(unreadable.to_owned()));
    };
    if pairs.iter().any(|(name, value)| is_token(name, value)) {
        return Err(ApiError::BadRequest(
            "a token in the query string ends in logs: send it as Authorization: Bearer, or on a \
             WebSocket as sub-protocol hubbub.bearer.TOKEN or in a first frame hello"
                .to_owned(),
        ));
    }
    Ok(pairs)
}

/// The ticket in the query, if there is one; refused if a token is there.
pub(crate) fn ticket(uri: &Uri) -> Result<Option<String>, ApiError> {
    let mut pairs = query_without_token(uri)?.into_iter();
    let ticket = pairs.find(|(name, _)| name == "ticket");
    Ok(ticket.map(|(_, ticket)| ticket))
}

/// By its name, or by its looks: three parts, the first of them JSON.
fn is_token(name: &str, value: &str) -> bool {
    QUERY_TOKENS
        .iter()
        .any(|token| name.eq_ignore_ascii_case(token))
        || value.starts_with("eyJ") && value.split('.').count() == 3
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn cookie<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    let lines = headers
        .get_all(COOKIE)
        .into_iter()
        .filter_map(|value| value.to_str().ok());
    lines.flat_map(|line| line.split(';')).find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        (name.trim() == wanted).then(|| value.trim().trim_matches('"'))
    })
}
