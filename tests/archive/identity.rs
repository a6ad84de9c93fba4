//! The archive's identity, and the cluster that it belongs to.

use crate::fixture::Fixture;

pub(crate) async fn an_archive_keeps_its_id(mut fixture: Fixture) {
    let before = fixture.archive.identity().await.unwrap();
    assert_eq!((before.id.len(), &before.owner), (32, &None));
    fixture.reopen().await;
    assert_eq!(fixture.archive.identity().await.unwrap(), before);
}

pub(crate) async fn an_archive_belongs_to_one_cluster(fixture: Fixture) {
    let archive = &fixture.archive;
    let claim = async |cluster, home| archive.claim(cluster, home).await.unwrap();
    assert!(claim("a", "redis-1").await, "the first cluster gets it");
    assert!(claim("a", "redis-1").await, "a repetition keeps it");
    assert!(!claim("b", "redis-2").await, "another cluster does not");
    assert!(
        !claim("a", "redis-2").await,
        "the cluster still uses redis-1"
    );
    let owner = archive.identity().await.unwrap().owner.unwrap();
    assert_eq!((&*owner.cluster, &*owner.home), ("a", "redis-1"));
    assert!(owner.is_alive);
}

pub(crate) async fn a_cluster_comes_back_with_another_redis(fixture: Fixture) {
    let archive = &fixture.archive;
    let claim = async |cluster, home| archive.claim(cluster, home).await.unwrap();
    assert!(claim("a", "redis-1").await);
    archive.rest("a", "redis-1").await.unwrap();
    let owner = archive.identity().await.unwrap().owner.unwrap();
    assert!(!owner.is_alive, "{owner:?}");
    assert!(!claim("b", "redis-2").await, "it still belongs to a");
    assert!(claim("a", "redis-2").await);
    assert!(!claim("a", "redis-1").await, "the cluster uses redis-2 now");
}

pub(crate) async fn an_archive_is_released_when_nobody_uses_it(fixture: Fixture) {
    let archive = &fixture.archive;
    assert!(archive.claim("a", "redis-1").await.unwrap());
    assert!(
        !archive.release().await.unwrap(),
        "the cluster is still in use"
    );
    archive.rest("a", "redis-1").await.unwrap();
    assert!(archive.release().await.unwrap());
    assert_eq!(archive.identity().await.unwrap().owner, None);
    assert!(archive.claim("b", "redis-2").await.unwrap());
}
