//! The kubeconfig that k3s writes inside its container, made to fit the outside: the published port instead of the inner
//! one, and the credentials as PEM for the readiness check. Pure; `kubernetes` reads and writes the files.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// A kubeconfig and what is in it.
#[derive(Debug)]
pub(super) struct Kubeconfig {
    content: Value,
}

impl Kubeconfig {
    /// `Err` says what is wrong with it.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let content: Value = serde_saphyr::from_str(text).map_err(|error| error.to_string())?;
        let kubeconfig = Self { content };
        kubeconfig.text("/clusters/0/cluster/server")?;
        Ok(kubeconfig)
    }

    /// Points it at another address.
    pub(super) fn move_to(&mut self, server: &str) {
        if let Some(place) = self.content.pointer_mut("/clusters/0/cluster/server") {
            *place = server.into();
        }
    }

    /// Its text: JSON, which every reader of YAML understands.
    pub(super) fn text_form(&self) -> String {
        format!("{:#}\n", self.content)
    }

    /// The certificate authority, the client's certificate and its key, as PEM.
    pub(super) fn credentials(&self) -> Result<(String, String, String), String> {
        Ok((
            self.pem("/clusters/0/cluster/certificate-authority-data")?,
            self.pem("/users/0/user/client-certificate-data")?,
            self.pem("/users/0/user/client-key-data")?,
        ))
    }

    fn pem(&self, pointer: &str) -> Result<String, String> {
        let decoded = STANDARD.decode(self.text(pointer)?).map_err(|error| format!("{pointer}: {error}"))?;
        String::from_utf8(decoded).map_err(|error| format!("{pointer}: {error}"))
    }

    fn text(&self, pointer: &str) -> Result<&str, String> {
        self.content.pointer(pointer).and_then(Value::as_str).ok_or_else(|| format!("it has no {pointer}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const K3S: &str = "apiVersion: v1\nclusters:\n- cluster:\n    certificate-authority-data: Y2E=\n    \
        server: https://127.0.0.1:6443\n  name: default\ncontexts:\n- context:\n    cluster: default\n    user: default\n  \
        name: default\ncurrent-context: default\nkind: Config\nusers:\n- name: default\n  user:\n    \
        client-certificate-data: Y2VydA==\n    client-key-data: a2V5\n";

    #[test]
    fn the_address_changes_and_the_credentials_stay() {
        let mut kubeconfig = Kubeconfig::parse(K3S).unwrap();
        kubeconfig.move_to("https://127.0.0.1:32001");
        assert_eq!(kubeconfig.credentials().unwrap(), ("ca".into(), "cert".into(), "key".into()));
        let again = Kubeconfig::parse(&kubeconfig.text_form()).unwrap();
        assert_eq!(again.text("/clusters/0/cluster/server").unwrap(), "https://127.0.0.1:32001");
        assert_eq!(again.text("/current-context").unwrap(), "default");
        assert_eq!(again.credentials().unwrap(), kubeconfig.credentials().unwrap());
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(Kubeconfig::parse("kind: Config").unwrap_err().contains("/clusters/0/cluster/server"));
        let bare = Kubeconfig::parse("clusters: [{cluster: {server: 'https://a', certificate-authority-data: Y2E=}}]");
        assert!(bare.unwrap().credentials().unwrap_err().contains("client-certificate-data"));
    }
}
