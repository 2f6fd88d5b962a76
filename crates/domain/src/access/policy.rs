//! The policy of a configuration: rules that allow; what no rule allows is refused.

use std::collections::BTreeSet;

use super::{Decision, Identity, Question, Verb, WorkloadRight};
use crate::name::NamespaceName;

/// Rules, of which one that has all of a question allows it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// In the order of the configuration.
    pub rules: Vec<Rule>,
}

/// Allows what it names to whom it names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rule {
    /// Users, of whom one must match, or else a group.
    pub users: Vec<Pattern>,
    /// Groups, of which the caller must be in one, or else be a user above.
    pub groups: Vec<Pattern>,
    /// Namespaces.
    pub namespaces: Vec<Pattern>,
    /// Verbs.
    pub verbs: Vec<Verb>,
    /// Profiles that may be submitted; `None`: any workload, images of one's own included.
    pub profiles: Option<Vec<String>>,
}

/// A text, or with `*` at its end whatever begins so.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern(String);

impl Pattern {
    /// # Errors
    /// A `*` anywhere but at the end, or nothing at all.
    pub fn parse(text: &str) -> Result<Self, &'static str> {
        match text.find('*') {
            _ if text.is_empty() => Err("is empty"),
            Some(at) if at + 1 < text.len() => Err("has a `*` that is not at its end"),
            _ => Ok(Self(text.to_owned())),
        }
    }

    fn matches(&self, text: &str) -> bool {
        match self.0.strip_suffix('*') {
            Some(start) => text.starts_with(start),
            None => self.0 == text,
        }
    }
}

impl Policy {
    /// What it says to a question.
    #[must_use]
    pub fn decide(&self, identity: &Identity, question: &Question<'_>) -> Decision {
        match self.rules.iter().position(|rule| rule.allows(identity, question)) {
            Some(index) => Decision { allowed: true, reason: format!("authorization.rules[{index}]") },
            None => Decision { allowed: false, reason: "no rule of the policy allows it".to_owned() },
        }
    }

    /// The profiles that its rules let be submitted to this namespace, where it is not all of them.
    #[must_use]
    pub fn profiles_of(&self, identity: &Identity, namespace: &NamespaceName) -> BTreeSet<&str> {
        let question = Question { verb: Verb::Submit, namespace, workload: None };
        let rules = self.rules.iter().filter(|rule| rule.allows(identity, &question));
        rules.flat_map(|rule| rule.profiles.iter().flatten()).map(String::as_str).collect()
    }

    /// Namespaces that its rules name one by one and that `exists` does not know.
    pub fn unknown_namespaces(&self, exists: impl Fn(&NamespaceName) -> bool) -> Vec<(usize, String)> {
        let mut unknown = Vec::new();
        for (index, rule) in self.rules.iter().enumerate() {
            for Pattern(text) in rule.namespaces.iter().filter(|pattern| !pattern.0.ends_with('*')) {
                if !NamespaceName::parse(text).is_ok_and(|name| exists(&name)) {
                    unknown.push((index, text.clone()));
                }
            }
        }
        unknown
    }
}

impl Rule {
    fn allows(&self, identity: &Identity, question: &Question<'_>) -> bool {
        let any = |patterns: &[Pattern], text: &str| patterns.iter().any(|pattern| pattern.matches(text));
        let who = any(&self.users, &identity.user) || identity.groups.iter().any(|group| any(&self.groups, group));
        let what = match (&self.profiles, question.workload) {
            (None, _) | (_, None) => true,
            (Some(_), Some(WorkloadRight::Container(_))) => false,
            (Some(profiles), Some(WorkloadRight::Profile(name))) => profiles.iter().any(|profile| profile == name),
        };
        // Nobody is somebody, whatever the patterns.
        !identity.user.is_empty()
            && who
            && what
            && any(&self.namespaces, question.namespace.as_str())
            && self.verbs.contains(&question.verb)
    }
}

#[cfg(test)]
mod tests {
    use strum::VariantArray;

    use super::*;

    fn patterns(texts: &[&str]) -> Vec<Pattern> {
        texts.iter().map(|text| Pattern::parse(text).unwrap()).collect()
    }

    fn policy() -> Policy {
        let ci = Rule {
            users: patterns(&["system:serviceaccount:ci:*"]),
            namespaces: patterns(&["default", "nightly-*"]),
            verbs: vec![Verb::Submit, Verb::Get],
            profiles: Some(vec!["sql".to_owned()]),
            ..Rule::default()
        };
        let team = Rule {
            groups: patterns(&["team-a"]),
            namespaces: patterns(&["*"]),
            verbs: Verb::VARIANTS.to_vec(),
            ..Rule::default()
        };
        Policy { rules: vec![ci, team] }
    }

    fn identity(user: &str, groups: &[&str]) -> Identity {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        Identity { user: user.to_owned(), groups, ..Identity::default() }
    }

    fn decide(user: &str, groups: &[&str], verb: Verb, namespace: &str, workload: Option<WorkloadRight<'_>>) -> bool {
        let namespace = NamespaceName::parse(namespace).unwrap();
        let question = Question { verb, namespace: &namespace, workload };
        policy().decide(&identity(user, groups), &question).allowed
    }

    #[test]
    fn a_rule_needs_all_of_a_question() {
        let sql = Some(WorkloadRight::Profile("sql"));
        let robot = "system:serviceaccount:ci:robot";
        assert!(decide(robot, &[], Verb::Submit, "default", sql));
        assert!(decide(robot, &[], Verb::Get, "nightly-7", None));
        assert!(!decide(robot, &[], Verb::Submit, "other", sql), "another namespace");
        assert!(!decide(robot, &[], Verb::Cancel, "default", None), "another verb");
        assert!(
            !decide(robot, &[], Verb::Submit, "default", Some(WorkloadRight::Profile("report"))),
            "another profile"
        );
        assert!(!decide(robot, &[], Verb::Submit, "default", Some(WorkloadRight::Container("busybox"))), "an image");
        assert!(!decide("system:serviceaccount:cix", &[], Verb::Get, "default", None), "another user");
    }

    #[test]
    fn a_caller_that_may_submit_some_profiles_learns_which() {
        let namespace = |name| NamespaceName::parse(name).unwrap();
        let profiles = |user, name| policy().profiles_of(&identity(user, &[]), &namespace(name)).len();
        assert_eq!(profiles("system:serviceaccount:ci:robot", "default"), 1);
        assert_eq!(profiles("system:serviceaccount:ci:robot", "other"), 0);
        assert_eq!(profiles("alice", "default"), 0);
    }

    #[test]
    fn a_group_is_enough_and_is_no_user() {
        assert!(decide("alice", &["x", "team-a"], Verb::Delete, "other", None));
        assert!(decide("alice", &["team-a"], Verb::Submit, "other", Some(WorkloadRight::Container("busybox"))));
        assert!(!decide("team-a", &[], Verb::Get, "default", None), "a user of a group's name");
    }

    #[test]
    fn nobody_may_do_nothing() {
        for &verb in Verb::VARIANTS {
            assert!(!decide("", &[], verb, "default", None));
        }
        assert!(
            !Policy::default()
                .decide(
                    &identity("a", &["b"]),
                    &Question { verb: Verb::Get, namespace: &NamespaceName::default_namespace(), workload: None }
                )
                .allowed
        );
    }

    #[test]
    fn patterns_end_in_their_star() {
        assert!(Pattern::parse("").is_err());
        assert!(Pattern::parse("a*b").is_err());
        assert!(Pattern::parse("**").is_err());
        assert!(Pattern::parse("*").unwrap().matches(""));
    }

    #[test]
    fn namespaces_that_are_not_there_are_reported() {
        let known = |name: &NamespaceName| name.as_str() == "other";
        assert_eq!(policy().unknown_namespaces(known), [(0, "default".to_owned())]);
    }
}
