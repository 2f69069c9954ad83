//! A finding: one rule that fails at one place. What every scanner's output is turned into.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::digest::sha256_hex;
use crate::source::{RelPath, ResourceAddr};

/// The scanner that found it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tool {
    /// Checkov.
    Checkov,
    /// Trivy (`trivy config`).
    Trivy,
    /// tfsec.
    Tfsec,
    /// Terrascan.
    Terrascan,
    /// KICS.
    Kics,
    /// Another one, known from SARIF only.
    Other,
}

impl fmt::Display for Tool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Checkov => "checkov",
            Self::Trivy => "trivy",
            Self::Tfsec => "tfsec",
            Self::Terrascan => "terrascan",
            Self::Kics => "kics",
            Self::Other => "other",
        })
    }
}

/// How bad it is, by the scanner's word, lowest first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// For information.
    Info,
    /// Low.
    Low,
    /// Medium.
    Medium,
    /// High.
    High,
    /// Critical.
    Critical,
}

/// Where it is: a file of the scanned tree and its lines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Location {
    /// Path relative to the scanned root.
    pub file: RelPath,
    /// First line, from 1. 0 when the report names no lines.
    pub start_line: usize,
    /// Last line, inclusive, from 1.
    pub end_line: usize,
}

/// What the report itself says about the way out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hints {
    /// The scanner's resolution text.
    pub resolution: Option<String>,
    /// Address of the rule's documentation.
    pub guideline: Option<String>,
    /// Attribute paths that the rule looked at (`versioning/[0]/enabled`).
    pub evaluated_keys: Vec<String>,
    /// What the report says stands there, and what it expected instead (KICS).
    pub actual: Option<String>,
    /// See `actual`.
    pub expected: Option<String>,
}

/// One rule that fails at one place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Stable over runs: a hash of tool, rule, file and address (lines when there is no address).
    pub id: String,
    /// The scanner that found it.
    pub tool: Tool,
    /// The rule's id as the scanner writes it.
    pub rule: String,
    /// The rule's title or message.
    pub message: String,
    /// Its severity, when the scanner says one.
    pub severity: Option<Severity>,
    /// Where it is.
    pub location: Location,
    /// The resource it is about, when the report names one or the lines lead to one.
    pub address: Option<ResourceAddr>,
    /// What the report says about the way out.
    pub hints: Hints,
}

impl Finding {
    /// A finding with its id computed and no hints.
    pub fn new(
        tool: Tool,
        rule: impl Into<String>,
        message: impl Into<String>,
        location: Location,
        address: Option<ResourceAddr>,
    ) -> Self {
        let rule = rule.into();
        let place = match &address {
            Some(address) => address.to_string(),
            None => format!("{}-{}", location.start_line, location.end_line),
        };
        let key = format!("{tool}\0{rule}\0{}\0{place}", location.file);
        let id = sha256_hex(key)[..16].to_owned();
        Self { id, tool, rule, message: message.into(), severity: None, location, address, hints: Hints::default() }
    }

    /// The address, or `file:line` where there is none: for people.
    pub fn place(&self) -> String {
        match &self.address {
            Some(address) => address.to_string(),
            None => format!("{}:{}", self.location.file, self.location.start_line),
        }
    }
}
