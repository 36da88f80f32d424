//! The Kubernetes container: k3s as a control plane alone. It needs no privileges so, for what a container of k3s usually
//! needs them for is the node. It owns the container's command line and the way to its kubeconfig.

use std::path::{Path, PathBuf};

use super::daemon::{Daemon, Wait, Wanted};
use super::error::ContainerError;
use super::kubeconfig::Kubeconfig;
use super::ownership::Ownership;
use super::{Container, ContainerOptions};
use crate::certificates::write;
use crate::environment::Environment;
use crate::error::Error;
use crate::http::HttpClient;
use crate::readiness::Readiness;

const PORT: u16 = 6443;
const KUBECONFIG: &str = "/etc/rancher/k3s/k3s.yaml";
/// What k3s packages beside the control plane would only wait for a node. The serving certificate must be good for the
/// address that the port is published on.
const COMMAND: [&str; 4] = [
    "server",
    "--disable-agent",
    "--disable=coredns,local-storage,metrics-server,servicelb,traefik",
    "--tls-san=127.0.0.1",
];

#[derive(Debug)]
pub(super) struct Kubernetes {
    pub(super) container: Container,
    pub(super) kubeconfig: PathBuf,
}

impl Kubernetes {
    /// Starts it, writes the kubeconfig into `directory` and returns when the API server is ready and the
    /// ServiceAccount `default` is there, which comes from the controller manager.
    pub(super) async fn start(
        daemon: &Daemon,
        ownership: &Ownership,
        options: &ContainerOptions,
        directory: &Path,
    ) -> Result<Self, Error> {
        let image = options.kubernetes_image.as_str();
        let log = directory.join("logs/kubernetes.log");
        let wanted = Wanted { image, log, port: PORT, outside: None, command: &COMMAND, variables: Vec::new() };
        let container = daemon.start(ownership, &wanted).await;
        let container = container.map_err(ContainerError::docker("start the Kubernetes container"))?;
        let wrong = |detail| ContainerError::Kubeconfig { image: image.to_owned(), detail };
        let wait = Wait::new(&container, image);
        let mut kubeconfig = loop {
            let text = daemon.read_file(container.id(), KUBECONFIG).await;
            match text.and_then(|text| Kubeconfig::parse(&text)) {
                Ok(kubeconfig) => break kubeconfig,
                Err(last) => wait.go_on(last).await?,
            }
        };
        let port = container.get_host_port_ipv4(PORT).await;
        let port = port.map_err(ContainerError::docker("find the API server's port"))?;
        let server = format!("https://127.0.0.1:{port}");
        kubeconfig.move_to(&server);
        let path = directory.join("kubeconfig");
        write(&path, &kubeconfig.text_form(), 0o600)?;

        let (authority, certificate, key) = kubeconfig.credentials().map_err(wrong)?;
        let readiness = Readiness::Http {
            client: HttpClient::with(&authority, &certificate, &key)?,
            urls: vec![
                format!("{server}/readyz"),
                format!("{server}/api/v1/namespaces/default/serviceaccounts/default"),
            ],
        };
        wait.until(&readiness).await?;
        Ok(Self { container, kubeconfig: path })
    }

    /// Writes a script that runs the container's own kubectl, for machines that have none.
    pub(super) fn write_kubectl(&self, path: &Path, environment: &Environment) -> Result<(), Error> {
        let daemon = environment.value("DOCKER_HOST").map(|it| format!("--host '{}' ", it.to_string_lossy()));
        let script = format!(
            "#!/bin/sh\n# The kubectl of the cluster's container, for there is none on the PATH. It sees no file of this \
             machine.\nunset KUBECONFIG\nexec docker {}exec -i {} kubectl \"$@\"\n",
            daemon.unwrap_or_default(),
            self.container.id()
        );
        write(path, &script, 0o700)
    }
}
