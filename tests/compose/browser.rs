//! Two pages in a real browser: one from the balancer, opened as localhost, and one from a
//! gateway's own port.

use crate::stack::{Door, Stack};

pub(crate) async fn pages_talk_through_the_balancer_and_past_it(stack: &Stack) {
    let balancer = stack.url(Door::Balancer).replace("127.0.0.1", "localhost");
    let gateway = stack.url(Door::Gateway(2));
    let pages = format!("HUBBUB_PAGES={balancer},{gateway}");
    stack
        .shell(&format!("{pages} node --test tests/compose/pages.test.mjs"))
        .await;
    println!("two pages in Chromium exchange messages, through the balancer and directly");
}
