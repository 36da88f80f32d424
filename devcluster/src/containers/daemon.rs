//! The Docker daemon: reaching it, having an image, starting, watching and removing containers. It owns every call to
//! Docker but the removal that a handle does by itself. It knows nothing of what runs inside.

use std::collections::HashMap;
use std::fs::File;
use std::io::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use testcontainers::bollard::Docker;
use testcontainers::bollard::models::{ContainerSummary, ContainerSummaryStateEnum, HostConfig, PortBinding};
use testcontainers::bollard::query_parameters::{
    DownloadFromContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
};
use testcontainers::core::IntoContainerPort as _;
use testcontainers::core::client::docker_client_instance;
use testcontainers::core::logs::LogFrame;
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerRequest, GenericImage, ImageExt as _, TestcontainersError};

use super::Container;
use super::error::ContainerError;
use super::ownership::{CLUSTER, INSTANCE, Ownership, abandoned, is_mine};
use crate::cache::human;
use crate::environment::Environment;
use crate::http::in_full;
use crate::readiness::Readiness;

/// A bare control plane on a loaded machine of two cores has been seen to take 15 s, and k3s does more at its start.
const READY: Duration = Duration::from_secs(120);
const BETWEEN_CHECKS: Duration = Duration::from_millis(100);
const TAIL_LINES: usize = 12;

/// A container to start.
#[derive(Debug)]
pub(super) struct Wanted<'a> {
    pub(super) image: &'a str,
    /// Where its output goes.
    pub(super) log: PathBuf,
    /// The port inside that is published on loopback.
    pub(super) port: u16,
    /// Where it is published; `None` leaves the choice to Docker.
    pub(super) outside: Option<u16>,
    /// In place of the image's own command, unless empty.
    pub(super) command: &'a [&'a str],
    pub(super) variables: Vec<(&'static str, String)>,
}

/// A daemon that answered.
#[derive(Debug)]
pub(super) struct Daemon {
    docker: Docker,
}

impl Daemon {
    /// The daemon of `DOCKER_HOST`, or the one at the usual place.
    pub(super) async fn reach(environment: &Environment) -> Result<Self, ContainerError> {
        let address = environment.value("DOCKER_HOST").map(|it| it.to_string_lossy().into_owned());
        if let Some(address) = &address
            && !is_on_this_machine(address)
        {
            return Err(ContainerError::Remote(address.clone()));
        }
        let address = address.unwrap_or_else(|| "unix:///var/run/docker.sock".to_owned());
        let unreachable = |detail| ContainerError::Unreachable { address: address.clone(), detail };
        let docker = docker_client_instance().await.map_err(|error| unreachable(in_full(&error)))?;
        docker.ping().await.map_err(|error| unreachable(in_full(&error)))?;
        Ok(Self { docker })
    }

    /// Fetches an image unless it is here; `variable` is the one that names another.
    pub(super) async fn provide_image(&self, image: &str, variable: &'static str) -> Result<(), ContainerError> {
        if self.docker.inspect_image(image).await.is_ok() {
            return Ok(());
        }
        say(&format!("pulling the image {image}, usually less than a minute"));
        let begun = Instant::now();
        let (name, tag) = name_and_tag(image);
        let pulled = GenericImage::new(name, tag).pull_image().await;
        let failed = |source| ContainerError::Pull { image: image.to_owned(), variable, source };
        pulled.map(drop).map_err(|error| failed(Box::new(error)))?;
        say(&format!("pulled {image} in {}", human(begun.elapsed())));
        Ok(())
    }

    /// Creates and starts a container. What it prints goes to the log file as it comes.
    pub(super) async fn start(
        &self,
        ownership: &Ownership,
        wanted: &Wanted<'_>,
    ) -> Result<Container, TestcontainersError> {
        let (name, tag) = name_and_tag(wanted.image);
        let port = wanted.port.tcp();
        let binding = PortBinding {
            host_ip: Some("127.0.0.1".into()),
            host_port: Some(wanted.outside.map_or_else(String::new, |port| port.to_string())),
        };
        let publish = move |host: &mut HostConfig| {
            host.publish_all_ports = Some(false);
            host.port_bindings = Some(HashMap::from([(port.to_string(), Some(vec![binding.clone()]))]));
        };
        let log = File::create(&wanted.log)?;
        let mut request: ContainerRequest<_> = GenericImage::new(name, tag)
            .with_exposed_port(port)
            .with_labels(ownership.labels())
            .with_host_config_modifier(publish)
            // A full disk must not end the cluster; the container's own log has everything, too.
            .with_log_consumer(move |frame: &LogFrame| drop((&log).write_all(frame.bytes())));
        if !wanted.command.is_empty() {
            request = request.with_cmd(wanted.command.iter().copied());
        }
        for (name, value) in &wanted.variables {
            request = request.with_env_var(*name, value.as_str());
        }
        request.start().await
    }

    /// A text file of a container, which need not have a shell.
    pub(super) async fn read_file(&self, container: &str, path: &str) -> Result<String, String> {
        let options = DownloadFromContainerOptionsBuilder::new().path(path).build();
        let mut download = std::pin::pin!(self.docker.download_from_container(container, Some(options)));
        let mut archive = Vec::new();
        while let Some(chunk) = download.next().await {
            archive.extend_from_slice(&chunk.map_err(|error| in_full(&error))?);
        }
        only_file(&archive).ok_or_else(|| format!("{path} is not a file"))
    }

    /// Removes the containers of one cluster.
    pub(super) async fn remove(&self, ownership: &Ownership) -> Result<(), ContainerError> {
        for container in self.list(&format!("{INSTANCE}={}", ownership.instance)).await? {
            self.remove_container(&container).await?;
        }
        Ok(())
    }

    /// Removes the containers of all clusters of this process.
    pub(super) async fn remove_mine(&self) -> Result<(), ContainerError> {
        for container in self.list(CLUSTER).await? {
            if container.labels.as_ref().is_some_and(is_mine) {
                self.remove_container(&container).await?;
            }
        }
        Ok(())
    }

    /// Removes the containers whose owner ended without doing so, and tells.
    pub(super) async fn remove_left_over(&self) -> Result<(), ContainerError> {
        for container in self.list(CLUSTER).await? {
            let labels = container.labels.clone().unwrap_or_default();
            let running = container.state == Some(ContainerSummaryStateEnum::RUNNING);
            let Some(reason) = abandoned(&labels, running) else { continue };
            let name = container.names.iter().flatten().next().map_or("?", |name| name.trim_start_matches('/'));
            let image = container.image.as_deref().unwrap_or("?");
            let cluster = labels.get(CLUSTER).map_or("?", String::as_str);
            say(&format!("removing container {name} ({image}), left over of cluster {cluster:?}: {reason}"));
            self.remove_container(&container).await?;
        }
        Ok(())
    }

    async fn list(&self, label: &str) -> Result<Vec<ContainerSummary>, ContainerError> {
        let filters = HashMap::from([("label", vec![label])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        self.docker.list_containers(Some(options)).await.map_err(ContainerError::docker("list the containers"))
    }

    async fn remove_container(&self, container: &ContainerSummary) -> Result<(), ContainerError> {
        use testcontainers::bollard::errors::Error::DockerResponseServerError;
        let Some(id) = &container.id else { return Ok(()) };
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match self.docker.remove_container(id, Some(options)).await {
            // Somebody else removes it or has just done so: two clusters that start at once see the same ruins.
            Ok(()) | Err(DockerResponseServerError { status_code: 404 | 409, .. }) => Ok(()),
            Err(error) => Err(ContainerError::docker("remove a container")(error)),
        }
    }
}

/// Waiting for a container to serve, for a bounded time and while it runs.
#[derive(Debug)]
pub(super) struct Wait<'a> {
    container: &'a Container,
    image: &'a str,
    begun: Instant,
}

impl<'a> Wait<'a> {
    pub(super) fn new(container: &'a Container, image: &'a str) -> Self {
        Self { container, image, begun: Instant::now() }
    }

    /// The end of a check that saw this and no readiness: returns when it is time for the next one.
    pub(super) async fn go_on(&self, last: String) -> Result<(), ContainerError> {
        let image = self.image.to_owned();
        let running = self.container.is_running().await;
        if !running.map_err(ContainerError::docker("inspect a container"))? {
            return Err(ContainerError::Ended { image, tail: tail(self.container).await });
        }
        let waited = self.begun.elapsed();
        if waited > READY {
            return Err(ContainerError::NotReady { image, waited, last, tail: tail(self.container).await });
        }
        tokio::time::sleep(BETWEEN_CHECKS).await;
        Ok(())
    }

    /// Until a check is content.
    pub(super) async fn until(&self, readiness: &Readiness) -> Result<(), ContainerError> {
        while let Err(last) = readiness.check().await {
            self.go_on(last).await?;
        }
        Ok(())
    }
}

/// Whether a container could not be started because somebody else has its port.
pub(super) fn is_port_conflict(error: &TestcontainersError) -> bool {
    let text = in_full(error);
    text.contains("address already in use") || text.contains("port is already allocated")
}

/// Whether an address in the form of `DOCKER_HOST` is one whose loopback is ours.
fn is_on_this_machine(address: &str) -> bool {
    let Some((scheme, rest)) = address.split_once("://") else { return true };
    let host = rest.split(['/', '?']).next().unwrap_or("");
    let host = host.rsplit_once(':').map_or(host, |(host, _)| host);
    scheme == "unix" || scheme == "npipe" || host == "localhost" || host == "[::1]" || host.starts_with("127.")
}

/// `registry:5000/name:tag`, and `name@sha256:…`, which Docker takes apart at the same place.
fn name_and_tag(image: &str) -> (&str, &str) {
    image.rsplit_once(':').filter(|(_, tag)| !tag.contains('/')).unwrap_or((image, "latest"))
}

/// The content of the one file in a tar archive: a header of 512 bytes with the size in octal, then the bytes.
fn only_file(archive: &[u8]) -> Option<String> {
    let (header, rest) = archive.split_at_checked(512)?;
    if !matches!(header.get(156)?, b'0' | 0) {
        return None;
    }
    let size = std::str::from_utf8(header.get(124..136)?).ok()?;
    let size = usize::from_str_radix(size.trim_matches(['\0', ' ']), 8).ok()?;
    String::from_utf8(rest.get(..size)?.to_vec()).ok()
}

/// The last lines that a container wrote.
async fn tail(container: &Container) -> String {
    let mut text = String::new();
    for output in [container.stdout_to_vec().await, container.stderr_to_vec().await] {
        let output = output.unwrap_or_default();
        let output = String::from_utf8_lossy(&output);
        let lines: Vec<_> = output.lines().collect();
        for line in lines.iter().skip(lines.len().saturating_sub(TAIL_LINES)) {
            text.push_str(line);
            text.push('\n');
        }
    }
    text
}

/// A progress line for the person who waits. A closed standard error is no reason to stop.
fn say(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_images_name_may_have_a_registry_with_a_port_a_tag_or_a_digest() {
        assert_eq!(name_and_tag("rancher/k3s:v1.36.3-k3s1"), ("rancher/k3s", "v1.36.3-k3s1"));
        assert_eq!(name_and_tag("mirror:5000/kafka"), ("mirror:5000/kafka", "latest"));
        assert_eq!(name_and_tag("kafka@sha256:00ff"), ("kafka@sha256", "00ff"));
    }

    #[test]
    fn a_daemon_elsewhere_is_told_from_one_here() {
        for here in ["unix:///var/run/docker.sock", "tcp://127.0.0.1:2375", "tcp://localhost:2376", "tcp://[::1]:2375"]
        {
            assert!(is_on_this_machine(here), "{here}");
        }
        for elsewhere in ["tcp://10.0.0.7:2376", "ssh://me@build", "https://docker.example.org"] {
            assert!(!is_on_this_machine(elsewhere), "{elsewhere}");
        }
    }

    #[test]
    fn the_only_file_of_an_archive_is_read_and_a_cut_one_refused() {
        let mut archive = vec![0_u8; 512];
        archive[124..135].copy_from_slice(b"00000000005");
        archive[156] = b'0';
        archive.extend_from_slice(b"hello\0\0\0");
        assert_eq!(only_file(&archive).as_deref(), Some("hello"));
        assert_eq!(only_file(&archive[..514]), None);
        archive[156] = b'5';
        assert_eq!(only_file(&archive), None);
    }
}
