//! Asks the cluster who a token is of (TokenReview), and what a user may do in the Kubernetes
//! namespace of runs (LocalSubjectAccessReview). No token and no answer is kept here.

use std::sync::Arc;

use async_trait::async_trait;
use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec, TokenReviewStatus};
use k8s_openapi::api::authorization::v1::{
    LocalSubjectAccessReview, ResourceAttributes, SubjectAccessReviewSpec, SubjectAccessReviewStatus,
};
use kube::Api;
use kube::api::PostParams;

use super::client::Cluster;
use super::error::Target;
use longshore_backend::{BackendError, Reviews};
use longshore_domain::access::{Decision, Identity, Proof, Question, Verb};

/// Asks one cluster.
#[derive(Debug)]
pub(crate) struct KubernetesReviews {
    cluster: Arc<Cluster>,
}

impl KubernetesReviews {
    pub(crate) fn new(cluster: Arc<Cluster>) -> Self {
        Self { cluster }
    }
}

#[async_trait]
impl Reviews for KubernetesReviews {
    async fn review_token(&self, token: &str, audiences: &[String]) -> Result<Option<Identity>, BackendError> {
        let review = TokenReview {
            spec: TokenReviewSpec { token: Some(token.to_owned()), audiences: Some(audiences.to_vec()) },
            ..TokenReview::default()
        };
        let api: Api<TokenReview> = Api::all(self.cluster.client.clone());
        let post = PostParams::default();
        let answer = self.cluster.call(api.create(&post, &review)).await;
        let answer = answer.map_err(|e| e.to_backend(Target::new("create", "TokenReview", "the cluster", "")))?;
        Ok(answer.status.and_then(|status| identity(status, audiences)))
    }

    async fn review_access(&self, identity: &Identity, question: &Question<'_>) -> Result<Decision, BackendError> {
        let kube_namespace = self.cluster.target(question.namespace)?;
        let mut review =
            LocalSubjectAccessReview { spec: spec(identity, question.verb, kube_namespace), ..Default::default() };
        // The review's own namespace has to be the one that is asked about.
        review.metadata.namespace = Some(kube_namespace.to_owned());
        let api: Api<LocalSubjectAccessReview> = Api::namespaced(self.cluster.client.clone(), kube_namespace);
        let post = PostParams::default();
        let answer = self.cluster.call(api.create(&post, &review)).await;
        let target = Target::new("create", "LocalSubjectAccessReview", kube_namespace, "");
        let answer = answer.map_err(|e| e.to_backend(target))?;
        Ok(decision(answer.status.unwrap_or_default(), question.verb, kube_namespace))
    }
}

/// Whose token it is, if it is good for one of `audiences`: a cluster that knows no audiences
/// reports none, and then any token would do.
fn identity(status: TokenReviewStatus, audiences: &[String]) -> Option<Identity> {
    let for_us = status.audiences.iter().flatten().any(|audience| audiences.contains(audience));
    if status.authenticated != Some(true) || !for_us {
        if let Some(error) = status.error {
            tracing::debug!(%error, "a token was refused");
        }
        return None;
    }
    let user = status.user.unwrap_or_default();
    Some(Identity {
        user: user.username.filter(|name| !name.is_empty())?,
        uid: user.uid.unwrap_or_default(),
        groups: user.groups.unwrap_or_default(),
        extra: user.extra.unwrap_or_default(),
        proof: Proof::TokenReview,
    })
}

/// What a verb of ours is in Kubernetes: verb, API group, and resource with its subresource.
fn in_kubernetes(verb: Verb) -> (&'static str, &'static str, &'static str) {
    match verb {
        Verb::Submit => ("create", "batch", "jobs"),
        Verb::Get => ("get", "batch", "jobs"),
        Verb::Logs => ("get", "", "pods/log"),
        Verb::Cancel | Verb::Delete => ("delete", "batch", "jobs"),
    }
}

/// A right to ask about; `resource` with its subresource, `jobs/status`, and without a namespace: in
/// the whole cluster.
pub(crate) fn resource_attributes(
    verb: &str,
    group: &str,
    resource: &str,
    namespace: Option<&str>,
) -> ResourceAttributes {
    let (resource, subresource) = match resource.split_once('/') {
        Some((resource, subresource)) => (resource, Some(subresource.to_owned())),
        None => (resource, None),
    };
    ResourceAttributes {
        group: Some(group.to_owned()),
        resource: Some(resource.to_owned()),
        subresource,
        verb: Some(verb.to_owned()),
        namespace: namespace.map(str::to_owned),
        ..ResourceAttributes::default()
    }
}

fn spec(identity: &Identity, verb: Verb, kube_namespace: &str) -> SubjectAccessReviewSpec {
    let (verb, group, resource) = in_kubernetes(verb);
    let set = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    SubjectAccessReviewSpec {
        user: set(&identity.user),
        uid: set(&identity.uid),
        groups: Some(identity.groups.clone()),
        extra: Some(identity.extra.clone()),
        resource_attributes: Some(resource_attributes(verb, group, resource, Some(kube_namespace))),
        ..SubjectAccessReviewSpec::default()
    }
}

fn decision(status: SubjectAccessReviewStatus, verb: Verb, kube_namespace: &str) -> Decision {
    let (verb, _, resource) = in_kubernetes(verb);
    let asked = format!("{verb} {resource} in {kube_namespace}");
    let said = status.reason.filter(|reason| !reason.is_empty()).or(status.evaluation_error);
    let reason = match said {
        Some(said) => format!("{asked}: {said}"),
        None => asked,
    };
    Decision { allowed: status.allowed && status.denied != Some(true), reason }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::authentication::v1::UserInfo;

    use strum::VariantArray;

    use super::*;

    fn authenticated(audiences: Option<&[&str]>) -> TokenReviewStatus {
        TokenReviewStatus {
            authenticated: Some(true),
            audiences: audiences.map(|list| list.iter().map(|text| (*text).to_owned()).collect()),
            user: Some(UserInfo { username: Some("system:serviceaccount:ci:robot".to_owned()), ..UserInfo::default() }),
            ..TokenReviewStatus::default()
        }
    }

    #[test]
    fn a_token_has_to_be_for_us() {
        let ours = ["longshore".to_owned()];
        let found = identity(authenticated(Some(&["other", "longshore"])), &ours).unwrap();
        assert_eq!((found.user.as_str(), found.proof), ("system:serviceaccount:ci:robot", Proof::TokenReview));
        assert_eq!(identity(authenticated(Some(&["other"])), &ours), None);
        assert_eq!(identity(authenticated(None), &ours), None, "a cluster that knows no audiences");
    }

    #[test]
    fn what_is_not_authenticated_is_nobody() {
        let ours = ["longshore".to_owned()];
        let refused = TokenReviewStatus { authenticated: Some(false), ..authenticated(Some(&["longshore"])) };
        assert_eq!(identity(refused, &ours), None);
        let nameless = TokenReviewStatus { user: None, ..authenticated(Some(&["longshore"])) };
        assert_eq!(identity(nameless, &ours), None);
    }

    #[test]
    fn verbs_are_asked_as_kubernetes_knows_them() {
        let asked = |verb| {
            let attributes = spec(&Identity::default(), verb, "runs").resource_attributes.unwrap();
            let part = |text: Option<String>| text.unwrap_or_default();
            [attributes.verb, attributes.group, attributes.resource, attributes.subresource].map(part).join(" ")
        };
        assert_eq!(asked(Verb::Submit), "create batch jobs ");
        assert_eq!(asked(Verb::Get), "get batch jobs ");
        assert_eq!(asked(Verb::Logs), "get  pods log");
        assert_eq!(asked(Verb::Cancel), "delete batch jobs ");
        assert_eq!(asked(Verb::Delete), "delete batch jobs ");
    }

    /// What is asked of the cluster for each verb: `create jobs (batch)`.
    fn asked() -> Vec<(Verb, String)> {
        let asked = |verb| {
            let (of_kubernetes, group, resource) = in_kubernetes(verb);
            let group = if group.is_empty() { String::new() } else { format!(" ({group})") };
            (verb, format!("{of_kubernetes} {resource}{group}"))
        };
        Verb::VARIANTS.iter().copied().map(asked).collect()
    }

    #[test]
    fn the_page_has_what_is_asked_of_the_cluster() {
        let page = include_str!("../../../../docs/authentication.md");
        let table = page.split("| verb | asked of the cluster |\n| --- | --- |\n").nth(1).unwrap();
        let mut documented = Vec::new();
        for row in table.lines().take_while(|line| line.starts_with('|')) {
            let cells: Vec<_> = row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect();
            let verbs = cells[0].split(", ").map(|verb| verb.parse::<Verb>().unwrap());
            documented.extend(verbs.map(|verb| (verb, cells[1].clone())));
        }
        assert_eq!(documented, asked());
    }

    #[test]
    fn the_role_for_callers_grants_what_is_asked_of_them_and_nothing_else() {
        let manifests = include_str!("../../../../deploy/manifests/longshore.yaml");
        let documents = manifests.split("\n---\n").filter(|text| !text.trim().is_empty());
        let mut documents = documents.map(|text| serde_saphyr::from_str::<serde_json::Value>(text).unwrap());
        let is_role =
            |role: &serde_json::Value| role["kind"] == "Role" && role["metadata"]["name"] == "longshore-caller";
        let role = documents.find(is_role).expect("the Role for callers");
        let texts = |value: &serde_json::Value| -> Vec<String> {
            value.as_array().unwrap().iter().map(|text| text.as_str().unwrap().to_owned()).collect()
        };
        let mut granted = std::collections::BTreeSet::new();
        for rule in role["rules"].as_array().unwrap() {
            for (group, resource, verb) in texts(&rule["apiGroups"])
                .iter()
                .flat_map(|group| texts(&rule["resources"]).into_iter().map(move |resource| (group.clone(), resource)))
                .flat_map(|(group, resource)| {
                    texts(&rule["verbs"]).into_iter().map(move |verb| (group.clone(), resource.clone(), verb))
                })
            {
                let group = if group.is_empty() { group } else { format!(" ({group})") };
                granted.insert(format!("{verb} {resource}{group}"));
            }
        }
        assert_eq!(granted, asked().into_iter().map(|(_, asked)| asked).collect());
    }

    #[test]
    fn denied_wins_over_allowed() {
        let said = |allowed, denied| SubjectAccessReviewStatus { allowed, denied, ..Default::default() };
        assert!(decision(said(true, None), Verb::Get, "runs").allowed);
        assert!(!decision(said(true, Some(true)), Verb::Get, "runs").allowed);
        let refused = decision(said(false, None), Verb::Logs, "runs");
        assert_eq!((refused.allowed, refused.reason.as_str()), (false, "get pods/log in runs"));
    }
}
