//! Free ports on loopback that no other devcluster of this user will take as well. It owns choosing and the
//! reservation; it never listens. Each chosen number stays reserved for as long as its `Port` lives, also while the
//! process behind it is stopped, so that a restarted process finds its old port free.

use std::fs::File;
use std::hash::{BuildHasher as _, RandomState};
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;

use crate::cluster::Part;
use crate::environment::Environment;
use crate::error::Error;

/// Below the kernel's range for outgoing connections (32768 and up), where a port that is free for the blink of a
/// restart could become some client's local port.
const FIRST: u16 = 20_000;
const LAST: u16 = 31_999;

/// A reserved port number.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    /// Released with the file, and the file with its owner.
    _reservation: File,
}

impl Port {
    /// The number.
    pub(crate) fn number(&self) -> u16 {
        self.number
    }

    /// A free port.
    pub(crate) fn any(environment: &Environment) -> Result<Self, Error> {
        let span = LAST - FIRST + 1;
        let start = u16::try_from(RandomState::new().hash_one(0) % u64::from(span)).unwrap_or(0);
        for step in 0..span {
            let number = FIRST + (start + step) % span;
            if let Some(port) = Self::reserve(environment, number)? {
                return Ok(port);
            }
        }
        Err(Error::NoFreePort { from: FIRST, to: LAST })
    }

    /// The port asked for, or an error that names it.
    pub(crate) fn fixed(environment: &Environment, number: u16, part: Part) -> Result<Self, Error> {
        Self::reserve(environment, number)?.ok_or(Error::PortInUse { port: number, part })
    }

    /// The port asked for, if any was, else a free one.
    pub(crate) fn wanted(environment: &Environment, number: Option<u16>, part: Part) -> Result<Self, Error> {
        number.map_or_else(|| Self::any(environment), |number| Self::fixed(environment, number, part))
    }

    fn reserve(environment: &Environment, number: u16) -> Result<Option<Self>, Error> {
        let directory: PathBuf = environment.cache_directory()?.join("ports");
        std::fs::create_dir_all(&directory).map_err(Error::file("create", &directory))?;
        let path = directory.join(number.to_string());
        let file =
            File::options().create(true).truncate(false).write(true).open(&path).map_err(Error::file("open", &path))?;
        if file.try_lock().is_err() || TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_err() {
            return Ok(None);
        }
        Ok(Some(Self { number, _reservation: file }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_is_not_given_twice_and_comes_free_with_its_owner() {
        let environment = Environment::of_this_process();
        let port = Port::any(&environment).unwrap();
        let again = Port::fixed(&environment, port.number(), Part::Kafka).unwrap_err().to_string();
        assert!(again.contains(&port.number().to_string()) && again.contains("kafka"), "{again}");
        let number = port.number();
        drop(port);
        assert_eq!(Port::fixed(&environment, number, Part::Kafka).unwrap().number(), number);
    }

    #[test]
    fn a_port_that_somebody_listens_on_is_refused_by_name() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let number = listener.local_addr().unwrap().port();
        let refused = Port::fixed(&Environment::of_this_process(), number, Part::ApiServer).unwrap_err();
        assert!(matches!(refused, Error::PortInUse { port, part: Part::ApiServer } if port == number));
    }
}
