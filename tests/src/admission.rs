//! An admission webhook before a sidecar process: its authority and certificates, and the objects that make the API server ask it.

use std::path::PathBuf;

use anyhow::Context;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd};
use serde_json::{Value, json};
use sidecar_core::admission::configuration::{Guarded, Reach, objects};

use crate::program::Scratch;
use crate::sidecar::Sidecar;

/// An authority of its own, and the files of the certificate that it issued last.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    cert_file: PathBuf,
    key_file: PathBuf,
}

impl Authority {
    /// Makes the authority and a first certificate for loopback.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn new(scratch: &Scratch) -> anyhow::Result<Self> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(Vec::new())?;
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let pem = params.self_signed(&key)?.pem();
        let issuer = Issuer::new(params, key);
        let (cert_file, key_file) = (scratch.file("webhook", "crt"), scratch.file("webhook", "key"));
        let authority = Self { issuer, pem, cert_file, key_file };
        authority.issue(2100)?;
        Ok(authority)
    }

    /// Puts another certificate, which ends with the first day of that year, in the place of the one before: one file after the other.
    ///
    /// # Errors
    /// When the files cannot be written.
    pub fn issue(&self, year: i32) -> anyhow::Result<()> {
        let key = KeyPair::generate()?;
        let mut params = CertificateParams::new(vec!["127.0.0.1".to_owned()])?;
        params.not_after = date_time_ymd(year, 1, 1);
        let pem = params.signed_by(&key, &self.issuer)?.pem();
        std::fs::write(&self.cert_file, pem).context("failed to write the certificate")?;
        std::fs::write(&self.key_file, key.serialize_pem()).context("failed to write the key")
    }

    /// The sidecar's section `admission`.
    pub fn settings(&self) -> Value {
        json!({"address": "127.0.0.1:0", "certFile": self.cert_file, "keyFile": self.key_file})
    }

    /// The objects for a sidecar that listens there.
    pub fn objects(&self, name: &str, address: &str, kinds: &[Guarded]) -> Vec<Value> {
        objects(name, &Reach::Url(format!("https://{address}")), &STANDARD.encode(&self.pem), kinds)
    }
}

/// Where a sidecar's webhook listens.
///
/// # Errors
/// When it does not tell.
pub async fn address(sidecar: &Sidecar) -> anyhow::Result<String> {
    let told = |log: &str| {
        log.lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok())
            .find_map(|line| line.get("admission")?.as_str().map(str::to_owned))
    };
    sidecar.program.told("where its webhook listens", told).await
}

/// Webhook configurations in a cluster.
pub struct Registered {
    kube: kube::Client,
    objects: Vec<Value>,
}

impl Registered {
    /// Writes them. It takes the API server a moment to heed them.
    ///
    /// # Errors
    /// When the API server refuses them.
    pub async fn write(kube: &kube::Client, objects: Vec<Value>) -> anyhow::Result<Self> {
        for object in &objects {
            let (api, name) = place(kube, object);
            let apply = PatchParams::apply("kab-test").force();
            api.patch(&name, &apply, &Patch::Apply(object)).await.with_context(|| format!("failed to write {name}"))?;
        }
        Ok(Self { kube: kube.clone(), objects })
    }

    /// Takes them away: a namespace whose entities nobody lets go could not be deleted.
    ///
    /// # Errors
    /// When the API server refuses.
    pub async fn remove(self) -> anyhow::Result<()> {
        for object in &self.objects {
            let (api, name) = place(&self.kube, object);
            api.delete(&name, &DeleteParams::default()).await?;
        }
        Ok(())
    }
}

fn place(kube: &kube::Client, object: &Value) -> (Api<DynamicObject>, String) {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", &text("/kind"));
    (Api::all_with(kube.clone(), &ApiResource::from_gvk(&kind)), text("/metadata/name"))
}
