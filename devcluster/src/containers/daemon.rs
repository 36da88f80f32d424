//! The Docker daemon: reaching it, having an image, starting, watching and removing containers. It owns every call to
//! Docker but the removal that a handle does by itself. It knows nothing of what runs inside.

use std::collections::HashMap;
use std::io::Write as _;
use std::time::{Duration, Instant};

use futures::StreamExt as _;
use testcontainers::bollard::Docker;
use testcontainers::bollard::models::{ContainerSummary, ContainerSummaryStateEnum, HostConfig, PortBinding};
use testcontainers::bollard::query_parameters::{
    DownloadFromContainerOptionsBuilder, ListContainersOptionsBuilder, RemoveContainerOptionsBuilder,
};
use testcontainers::core::IntoContainerPort as _;
use testcontainers::core::client::docker_client_instance;
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{ContainerRequest, GenericImage, ImageExt as _, TestcontainersError};

use super::error::ContainerError;
use super::ownership::{CLUSTER, INSTANCE, Ownership, abandoned};
use super::{Container, KAFKA_IMAGE_VARIABLE, KUBERNETES_IMAGE_VARIABLE};
use crate::cache::human;
use crate::environment::Environment;
use crate::error::Error;
use crate::readiness::in_full;

/// k3s on a loaded machine of two cores has been seen to take half of this.
const READY: Duration = Duration::from_secs(120);
const BETWEEN_CHECKS: Duration = Duration::from_millis(100);
const TAIL_LINES: usize = 12;
const VARIABLES: &str = const_format(KUBERNETES_IMAGE_VARIABLE, KAFKA_IMAGE_VARIABLE);
