//! Agreement: how a node over Redis learns its archive's identity, declares its settings and joins.

mod compared;
mod declaration;
mod digest;

use std::time::Duration;

use hubbub_archive::{Archive, ArchiveError, Owner};
use hubbub_broker::{Broker, BrokerError, ClusterIdentity};
use tokio::time::sleep;

pub(crate) use self::compared::{SETTINGS, is_setting};
use self::declaration::declare;
use crate::config::Settings;

/// Between two tries to declare the settings.
const RETRY: Duration = Duration::from_millis(500);
/// How often a node says in the archive that its cluster lives: often enough for
/// [`Archive::claim`], which takes a cluster for dead after 10 s.
const KEEP: Duration = Duration::from_secs(2);

/// Why a node cannot declare its settings yet.
#[derive(Debug, thiserror::Error)]
enum Obstacle {
    #[error("the archive cannot be asked which one it is: {0}")]
    Archive(#[from] ArchiveError),
    #[error("redis cannot be asked for the cluster's secret and identity: {0}")]
    Broker(#[from] BrokerError),
    #[error(
        "archive.url: this database belongs to cluster {}, and this Redis to cluster {here}: use \
         another database, or stop that cluster and run `hubbub archive adopt`",
        there.cluster
    )]
    OtherCluster { there: Owner, here: String },
    #[error(
        "archive.url: this database belongs to cluster {}, whose nodes live with another Redis or \
         another redis.prefix: use another database, or stop those nodes (and run `hubbub archive \
         adopt` if this is to be another cluster)",
        .0.cluster
    )]
    OtherHome(Owner),
}

/// A node on its way into its cluster.
pub(crate) struct Joining {
    pub(crate) settings: Settings,
    pub(crate) broker: Broker,
    pub(crate) archive: Option<Archive>,
}

impl Joining {
    /// Declares the settings as soon as that is possible and whenever the cluster's secret changes, with
    /// which they are digested, and keeps the archive's claim. Runs for as long as the node.
    pub(crate) async fn run(self) {
        let mut secrets = self.broker.cluster_secrets();
        let identity = self.declare_patiently().await;
        let claim = async {
            if let (Some(archive), Some(identity)) = (&self.archive, identity) {
                keep_claim(archive, &identity).await;
            }
        };
        let follow = async {
            while secrets.changed().await.is_ok() {
                self.declare_patiently().await;
            }
        };
        tokio::join!(claim, follow);
    }

    async fn declare_patiently(&self) -> Option<ClusterIdentity> {
        loop {
            match self.declare().await {
                Ok(identity) => return identity,
                Err(obstacle) => self.broker.postpone_joining(obstacle.to_string()),
            }
            sleep(RETRY).await;
        }
    }

    async fn declare(&self) -> Result<Option<ClusterIdentity>, Obstacle> {
        let secret = self.broker.cluster_secret().await?;
        let (archive_id, identity) = match &self.archive {
            None => (None, None),
            Some(archive) => {
                let (id, identity) = self.identify(archive).await?;
                (Some(id), identity)
            }
        };
        let settings = declare(&self.settings, archive_id.as_deref(), &secret);
        self.broker.declare(hubbub_broker::Declaration {
            settings,
            identity: identity.clone(),
        });
        Ok(identity)
    }

    /// The archive's ID, once it is certain that the archive belongs to this cluster. An emptied Redis
    /// gets the cluster's ID back from the archive, unless the cluster lives with another Redis.
    async fn identify(
        &self,
        archive: &Archive,
    ) -> Result<(String, Option<ClusterIdentity>), Obstacle> {
        let known = archive.identity().await?;
        let identity = match (self.broker.identity().await?, &known.owner) {
            (Some(identity), _) => Some(identity),
            (None, Some(owner)) if owner.is_alive => {
                return Err(Obstacle::OtherHome(owner.clone()));
            }
            (None, owner) => {
                let cluster = owner.as_ref().map(|owner| owner.cluster.as_str());
                self.broker.give_identity(cluster).await?
            }
        };
        if let Some(identity) = &identity
            && !archive.claim(&identity.cluster, &identity.home).await?
        {
            return match archive.identity().await?.owner {
                Some(there) if there.cluster == identity.cluster => Err(Obstacle::OtherHome(there)),
                Some(there) => {
                    let here = identity.cluster.clone();
                    Err(Obstacle::OtherCluster { there, here })
                }
                None => Err(ArchiveError::Unavailable("its owner has changed".to_owned()).into()),
            };
        }
        Ok((known.id, identity))
    }
}

/// Says again and again that the cluster lives, and logs when the archive belongs to another one.
async fn keep_claim(archive: &Archive, identity: &ClusterIdentity) {
    let mut is_ours = true;
    loop {
        sleep(KEEP).await;
        match archive.claim(&identity.cluster, &identity.home).await {
            Ok(claimed) => {
                if is_ours && !claimed {
                    tracing::error!("the archive was given to another cluster: stop this node");
                }
                is_ours = claimed;
            }
            Err(error) => tracing::debug!(%error, "the archive's claim is not renewed now"),
        }
    }
}

/// Says in the archive that the cluster's last node has ended, so that the cluster can come back at once
/// with an emptied Redis.
pub(crate) async fn leave(broker: &Broker, archive: &Archive) {
    if broker.living_nodes() > 1 {
        return;
    }
    let declaration = broker.declared();
    let identity = declaration.as_ref().and_then(|it| it.identity.as_ref());
    let Some(identity) = identity else { return };
    if let Err(error) = archive.rest(&identity.cluster, &identity.home).await {
        tracing::debug!(%error, "the archive was not told that this node has ended");
    }
}
