//! A cluster of a campaign's own, with proxied ways to its parts, and what can befall them.

use std::time::Duration;

use devcluster::{Cluster, ClusterOptions, Part, Proxy};

/// What can befall a part, or one of the ways to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mishap {
    /// The way is cut: nobody gets through.
    Cut(usize),
    /// The way takes so much longer, in each direction.
    Slow(usize, Duration),
    /// The way swallows everything, and nobody is told.
    Swallow(usize),
    /// The part is killed.
    Kill(Part),
    /// The part stands still.
    Freeze(Part),
}

/// The cluster and its ways.
#[derive(Debug)]
pub struct Site {
    /// The cluster.
    pub cluster: Cluster,
    ways: Vec<Proxy>,
}

impl Site {
    /// Starts a cluster with a way to each of these parts; a part may have several.
    ///
    /// # Errors
    /// When it cannot be started.
    pub async fn start(options: ClusterOptions, to: &[Part]) -> anyhow::Result<Self> {
        let cluster = Cluster::start(options).await?;
        let mut ways = Vec::new();
        for part in to {
            ways.push(cluster.proxy(*part).await?);
        }
        Ok(Self { cluster, ways })
    }

    /// The way of this number.
    ///
    /// # Errors
    /// When there is none.
    pub fn way(&self, number: usize) -> anyhow::Result<&Proxy> {
        self.ways.get(number).ok_or_else(|| anyhow::anyhow!("there is no way {number}"))
    }

    /// Lets it happen.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn begin(&self, mishap: Mishap) -> anyhow::Result<()> {
        match mishap {
            Mishap::Cut(way) => self.way(way)?.cut().await?,
            Mishap::Slow(way, by) => self.way(way)?.delay(by).await?,
            Mishap::Swallow(way) => self.way(way)?.black_hole().await?,
            Mishap::Kill(part) => self.cluster.process(part).kill().await?,
            Mishap::Freeze(part) => self.cluster.process(part).freeze().await?,
        }
        Ok(())
    }

    /// Makes it good again; a part that was killed or frozen serves again then.
    ///
    /// # Errors
    /// When it cannot.
    pub async fn end(&self, mishap: Mishap) -> anyhow::Result<()> {
        match mishap {
            Mishap::Cut(way) | Mishap::Slow(way, _) | Mishap::Swallow(way) => self.way(way)?.heal().await?,
            Mishap::Kill(part) => self.cluster.process(part).start().await?,
            Mishap::Freeze(part) => {
                self.cluster.process(part).thaw().await?;
                self.cluster.process(part).ready().await?;
            }
        }
        Ok(())
    }

    /// Ends everything.
    ///
    /// # Errors
    /// When something does not end.
    pub async fn stop(self) -> anyhow::Result<()> {
        drop(self.ways);
        Ok(self.cluster.stop().await?)
    }
}
