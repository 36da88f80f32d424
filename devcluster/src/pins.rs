//! The exact versions of everything that the devcluster runs. The files in `pins/` are the truth and are compiled in;
//! this module reads the versions out of them and names a cache folder after each set. It never touches the disk.

/// One set of pinned versions: the input files of one build tool.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pins {
    name: &'static str,
    /// File name and content, as they stand in the repository.
    pub(crate) files: &'static [(&'static str, &'static str)],
    /// What stands right before the version in the first file.
    marker: &'static str,
    /// Raised when the way of building changes although no version does.
    recipe: u64,
}

pub(crate) const ETCD: Pins = Pins {
    name: "etcd",
    files: &[("go.mod", include_str!("../pins/etcd/go.mod")), ("go.sum", include_str!("../pins/etcd/go.sum"))],
    marker: "go.etcd.io/etcd/server/v3 v",
    recipe: 1,
};

pub(crate) const KUBERNETES: Pins = Pins {
    name: "kubernetes",
    files: &[
        ("go.mod", include_str!("../pins/kubernetes/go.mod")),
        ("go.sum", include_str!("../pins/kubernetes/go.sum")),
    ],
    marker: "k8s.io/kubernetes v",
    recipe: 1,
};

pub(crate) const TOXIPROXY: Pins = Pins {
    name: "toxiproxy",
    files: &[
        ("go.mod", include_str!("../pins/toxiproxy/go.mod")),
        ("go.sum", include_str!("../pins/toxiproxy/go.sum")),
    ],
    marker: "github.com/Shopify/toxiproxy/v2 v",
    recipe: 1,
};

pub(crate) const KAFKA: Pins = Pins {
    name: "kafka",
    files: &[("pom.xml", include_str!("../pins/kafka/pom.xml"))],
    marker: "<kafka.version>",
    recipe: 1,
};

impl Pins {
    /// The version of the main part, without a leading `v`.
    pub(crate) fn version(&self) -> &'static str {
        let text = self.files.first().map_or("", |(_, text)| *text);
        let after = text.split_once(self.marker).map_or("", |(_, after)| after);
        after.split(|c: char| c.is_whitespace() || c == '<').next().unwrap_or("")
    }

    /// The folder below the cache directory that holds what is built from these pins: its name changes with each of
    /// them, so that a change of version never meets a stale binary.
    pub(crate) fn folder(&self) -> String {
        format!("{}-{}-{:016x}", self.name, self.version(), self.fingerprint())
    }

    /// FNV-1a over names and contents. It guards against forgetting to build again, not against an attacker.
    fn fingerprint(&self) -> u64 {
        let seed = 0xcbf2_9ce4_8422_2325_u64 ^ self.recipe;
        self.files
            .iter()
            .flat_map(|(name, text)| name.bytes().chain([0]).chain(text.bytes()).chain([0]))
            .fold(seed, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
    }

    /// The Go version that the module asks for, as (major, minor).
    pub(crate) fn go_version(&self) -> Option<(u32, u32)> {
        let text = self.files.first()?.1;
        let line = text.lines().find_map(|line| line.strip_prefix("go "))?;
        let mut numbers = line.split('.').map(str::parse);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_the_files_in_the_repository() {
        for pins in [ETCD, KUBERNETES, TOXIPROXY, KAFKA] {
            let numbers: Vec<u32> = pins.version().split('.').map(|part| part.parse().unwrap()).collect();
            assert_eq!(numbers.len(), 3, "{} has version {:?}", pins.name, pins.version());
        }
        assert!(KUBERNETES.version().starts_with("1."));
        assert!(KAFKA.version().starts_with("4."));
    }

    #[test]
    fn another_version_gets_another_folder() {
        let other = Pins { files: &[("go.mod", "go.etcd.io/etcd/server/v3 v3.6.14")], ..ETCD };
        assert_eq!(other.version(), "3.6.14");
        assert_ne!(other.folder(), ETCD.folder());
        assert_ne!(Pins { recipe: 2, ..ETCD }.folder(), ETCD.folder());
    }

    #[test]
    fn every_go_module_says_which_go_it_needs() {
        for pins in [ETCD, KUBERNETES, TOXIPROXY] {
            assert!(pins.go_version().unwrap() >= (1, 20));
        }
        assert_eq!(KAFKA.go_version(), None);
    }
}
