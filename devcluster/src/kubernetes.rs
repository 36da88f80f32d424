//! kube-apiserver and kube-controller-manager as parts, with the defaults of the release wherever nothing speaks
//! against it. There is no node here, so nothing runs pods; all else behaves as in any cluster. It never starts them.

use std::path::PathBuf;

use crate::artifact::Artifact;
use crate::certificates::{Certificates, write};
use crate::cluster::{ClusterOptions, Part};
use crate::error::Error;
use crate::http::HttpClient;
use crate::ports::Port;
use crate::process::Plan;
use crate::readiness::Readiness;
use crate::site::Site;

const SERVICES: &str = "10.96.0.0/16";

/// The audit policy. Of everything, if it is wanted: who did what to which object, without bodies: enough to count requests and to see a ServiceAccount's.
/// Of the writes to one group's resources, if it is wanted: also what was sent and answered, and that they were received, because of one that the API server
/// is killed in nothing else is known.
fn audit_policy(everything: bool, writes_of: Option<&str>) -> String {
    let mut policy = String::from("apiVersion: audit.k8s.io/v1\nkind: Policy\nomitManagedFields: true\nrules:\n");
    if let Some(group) = writes_of {
        policy.push_str(
            "- level: RequestResponse\n  verbs: [create, update, patch, delete, deletecollection]\n  resources:\n",
        );
        policy.push_str(&format!("  - group: {group}\n"));
    }
    let level = if everything { "Metadata" } else { "None" };
    policy.push_str(&format!("- level: {level}\n  omitStages: [RequestReceived]\n"));
    policy
}

/// Where the audit log goes.
pub(crate) fn audit_log(site: &Site) -> PathBuf {
    site.directory.join("logs").join("audit.log")
}

#[derive(Debug)]
pub(crate) struct Kubernetes {
    api_server: Port,
    controller_manager: Port,
}

impl Kubernetes {
    pub(crate) fn reserve(site: &Site, api_server: Option<u16>) -> Result<Self, Error> {
        Ok(Self {
            api_server: Port::wanted(&site.environment, api_server, Part::ApiServer)?,
            controller_manager: Port::any(&site.environment)?,
        })
    }

    pub(crate) fn address(&self) -> String {
        format!("127.0.0.1:{}", self.api_server.number())
    }

    pub(crate) fn url(&self) -> String {
        format!("https://{}", self.address())
    }

    pub(crate) fn api_server(
        &self,
        site: &Site,
        certificates: &Certificates,
        etcd: &str,
        options: &ClusterOptions,
    ) -> Result<Plan, Error> {
        let file = |name: &str| certificates.path(name);
        let mut arguments = vec![
            format!("--etcd-servers={etcd}"),
            format!("--etcd-cafile={}", file("etcd-ca.crt")),
            format!("--etcd-certfile={}", file("etcd-client.crt")),
            format!("--etcd-keyfile={}", file("etcd-client.key")),
            "--bind-address=127.0.0.1".into(),
            format!("--secure-port={}", self.api_server.number()),
            "--advertise-address=127.0.0.1".into(),
            // The endpoints of the Service "kubernetes" may not hold a loopback address, and there is no other.
            "--endpoint-reconciler-type=none".into(),
            format!("--tls-cert-file={}", file("apiserver.crt")),
            format!("--tls-private-key-file={}", file("apiserver.key")),
            format!("--client-ca-file={}", file("ca.crt")),
            "--authorization-mode=Node,RBAC".into(),
            "--allow-privileged=true".into(),
            // Without it, one that is asked to end waits a minute for the watches of the controller manager.
            "--shutdown-watch-termination-grace-period=1s".into(),
            format!("--service-cluster-ip-range={SERVICES}"),
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local".into(),
            format!("--service-account-key-file={}", file("service-account.pub")),
            format!("--service-account-signing-key-file={}", file("service-account.key")),
        ];
        if !options.feature_gates.is_empty() {
            arguments.push(format!("--feature-gates={}", options.feature_gates.join(",")));
        }
        let writes_of = options.audit_writes_of.as_deref();
        if options.audit_log || writes_of.is_some() {
            let policy = site.directory.join("audit-policy.yaml");
            write(&policy, &audit_policy(options.audit_log, writes_of), 0o644)?;
            arguments.push(format!("--audit-policy-file={}", policy.display()));
            arguments.push(format!("--audit-log-path={}", audit_log(site).display()));
            // In MiB: whoever reads the log need not look for parts that were set aside.
            arguments.push("--audit-log-maxsize=65536".into());
        }
        Ok(Plan {
            part: Part::ApiServer,
            port: self.api_server.number(),
            launch: site.launch(Part::ApiServer, site.toolbox.path(Artifact::ApiServer)?, arguments),
            readiness: Readiness::Http {
                client: HttpClient::admin(certificates)?,
                urls: vec![format!("{}/readyz", self.url())],
            },
            included: true,
        })
    }

    /// Ready means that its controllers work and that the ServiceAccount `default` of the namespace `default`, which it makes,
    /// is there: until then no pod and no token could be made in that namespace.
    pub(crate) fn controller_manager(&self, site: &Site, certificates: &Certificates) -> Result<Plan, Error> {
        let file = |name: &str| certificates.path(name);
        let kubeconfig = site.directory.join("controller-manager.kubeconfig");
        certificates.write_kubeconfig(&kubeconfig, "controller-manager", &self.url())?;
        let kubeconfig = kubeconfig.display();
        let arguments = vec![
            format!("--kubeconfig={kubeconfig}"),
            format!("--authentication-kubeconfig={kubeconfig}"),
            format!("--authorization-kubeconfig={kubeconfig}"),
            "--bind-address=127.0.0.1".into(),
            format!("--secure-port={}", self.controller_manager.number()),
            format!("--tls-cert-file={}", file("controller-manager.crt")),
            format!("--tls-private-key-file={}", file("controller-manager.key")),
            // There is one, and a restarted one would otherwise wait for its own old lease to run out.
            "--leader-elect=false".into(),
            format!("--root-ca-file={}", file("ca.crt")),
            format!("--service-account-private-key-file={}", file("service-account.key")),
            "--use-service-account-credentials=true".into(),
            format!("--cluster-signing-cert-file={}", file("ca.crt")),
            format!("--cluster-signing-key-file={}", file("ca.key")),
        ];
        let report = format!("https://127.0.0.1:{}/healthz?verbose", self.controller_manager.number());
        let object = format!("{}/api/v1/namespaces/default/serviceaccounts/default", self.url());
        Ok(Plan {
            part: Part::ControllerManager,
            port: self.controller_manager.number(),
            launch: site.launch(Part::ControllerManager, site.toolbox.path(Artifact::ControllerManager)?, arguments),
            readiness: Readiness::Controllers { client: HttpClient::admin(certificates)?, report, object },
            included: true,
        })
    }
}
