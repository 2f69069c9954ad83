//! Names of files and blocks: [`RelPath`], [`BlockAddr`] within a module, [`ResourceAddr`] as scanners and plans
//! write it (Terraform docs, "Resource Address Reference").

use std::fmt;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A path relative to the scanned root: `/` between parts, no `.` and no `..`. The root itself is the empty path.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RelPath(String);

impl RelPath {
    /// From a relative path. `None` when it is absolute, leaves the root, or is not UTF-8.
    pub fn new(path: impl AsRef<Path>) -> Option<Self> {
        let mut parts = Vec::new();
        for part in path.as_ref().components() {
            match part {
                Component::Normal(name) => parts.push(name.to_str()?),
                Component::CurDir => {}
                Component::ParentDir => {
                    parts.pop()?;
                }
                Component::RootDir | Component::Prefix(_) => return None,
            }
        }
        Some(Self(parts.join("/")))
    }

    /// The path as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The folder it is in; the empty path for a file at the root.
    pub fn parent(&self) -> RelPath {
        Self(self.0.rsplit_once('/').map_or(String::new(), |(dir, _)| dir.to_owned()))
    }

    /// The last part.
    pub fn file_name(&self) -> &str {
        self.0.rsplit_once('/').map_or(&self.0, |(_, name)| name)
    }

    /// Whether it is `scope` or lies below it. Everything lies below the empty path.
    pub fn is_in(&self, scope: &RelPath) -> bool {
        scope.0.is_empty() || self.0.strip_prefix(&scope.0).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// The path below `root`.
    pub fn under(&self, root: &Path) -> PathBuf {
        root.join(&self.0)
    }
}

impl fmt::Display for RelPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "." } else { &self.0 })
    }
}

/// A top-level block of a module: its keyword and labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BlockAddr {
    /// `resource`, `data`, `module`, `provider`, `variable`, `output`, `locals`, `terraform`, …
    pub keyword: String,
    /// Its labels: type and name for `resource` and `data`.
    pub labels: Vec<String>,
}

impl BlockAddr {
    /// A `resource` block.
    pub fn resource(ty: impl Into<String>, name: impl Into<String>) -> Self {
        Self { keyword: "resource".to_owned(), labels: vec![ty.into(), name.into()] }
    }

    /// The resource or data type, if it is one.
    pub fn resource_type(&self) -> Option<&str> {
        match self.keyword.as_str() {
            "resource" | "data" => self.labels.first().map(String::as_str),
            _ => None,
        }
    }
}

/// The name of a value in a `locals` block, as it is referred to: `local.NAME`. It is no block of its own.
pub fn local_addr(name: impl Into<String>) -> BlockAddr {
    BlockAddr { keyword: "local".to_owned(), labels: vec![name.into()] }
}

impl fmt::Display for BlockAddr {
    /// As references and scanners write it: `aws_s3_bucket.data`, `data.aws_region.here`, `module.vpc`, `var.name`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prefix = match self.keyword.as_str() {
            "resource" => "",
            "variable" => "var",
            other => other,
        };
        let parts = (!prefix.is_empty()).then_some(prefix).into_iter().chain(self.labels.iter().map(String::as_str));
        f.write_str(&parts.collect::<Vec<_>>().join("."))
    }
}

/// The address of a block instance: module path, block, instance key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct ResourceAddr {
    /// Module calls from the root module, outermost first, with their instance keys: `["vpc", "subnets[0]"]`.
    pub modules: Vec<String>,
    /// The block.
    pub block: BlockAddr,
    /// The instance key without brackets: `0`, `"a"`.
    pub key: Option<String>,
}

impl ResourceAddr {
    /// A block of the root module, no instance key.
    pub fn of(block: BlockAddr) -> Self {
        Self { modules: Vec::new(), block, key: None }
    }
}

impl fmt::Display for ResourceAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for module in &self.modules {
            write!(f, "module.{module}.")?;
        }
        write!(f, "{}", self.block)?;
        match &self.key {
            Some(key) => write!(f, "[{key}]"),
            None => Ok(()),
        }
    }
}

impl From<ResourceAddr> for String {
    fn from(addr: ResourceAddr) -> Self {
        addr.to_string()
    }
}

/// Text that is no resource address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no resource address: expected TYPE.NAME, data.TYPE.NAME or module.NAME…")]
pub struct BadAddress(pub String);

impl TryFrom<String> for ResourceAddr {
    type Error = BadAddress;

    fn try_from(text: String) -> Result<Self, BadAddress> {
        text.parse()
    }
}

impl FromStr for ResourceAddr {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = || BadAddress(text.to_owned());
        let mut parts = split_address(text).ok_or_else(bad)?;
        let key = parts.last_mut().and_then(|last| {
            let open = last.find('[')?;
            let key = last[open + 1..].strip_suffix(']')?.to_owned();
            last.truncate(open);
            Some(key)
        });
        let mut modules = Vec::new();
        let mut rest = parts.as_slice();
        while let [keyword, name, tail @ ..] = rest
            && keyword == "module"
            && !tail.is_empty()
        {
            modules.push(name.clone());
            rest = tail;
        }
        let block = match rest {
            [keyword, labels @ ..]
                if matches!((keyword.as_str(), labels.len()), ("data", 2) | ("module" | "provider" | "output", 1)) =>
            {
                BlockAddr { keyword: keyword.clone(), labels: labels.to_vec() }
            }
            [keyword, name] if keyword == "var" => {
                BlockAddr { keyword: "variable".to_owned(), labels: vec![name.clone()] }
            }
            [keyword] if matches!(keyword.as_str(), "locals" | "terraform") => {
                BlockAddr { keyword: keyword.clone(), labels: Vec::new() }
            }
            [ty, name] if !ty.is_empty() && !name.is_empty() => BlockAddr::resource(ty, name),
            _ => return Err(bad()),
        };
        Ok(Self { modules, block, key })
    }
}

/// Splits at the dots that are not inside brackets. `None` when the brackets do not close.
fn split_address(text: &str) -> Option<Vec<String>> {
    let mut parts = vec![String::new()];
    let (mut depth, mut quoted) = (0_usize, false);
    for c in text.chars() {
        match c {
            '"' if depth > 0 => quoted = !quoted,
            '[' if !quoted => depth += 1,
            ']' if !quoted => depth = depth.checked_sub(1)?,
            '.' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        parts.last_mut()?.push(c);
    }
    (depth == 0 && !quoted).then_some(parts)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_print_as_they_were_read() {
        for text in [
            "aws_s3_bucket.data",
            "aws_s3_bucket.data[0]",
            "aws_s3_bucket.data[\"a.b\"]",
            "data.aws_iam_policy_document.x",
            "module.a.module.b[\"x.y\"].aws_s3_bucket.data[1]",
            "module.vpc",
            "var.name",
            "provider.aws",
            "locals",
        ] {
            assert_eq!(text.parse::<ResourceAddr>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn module_paths_and_keys_are_taken_apart() {
        let addr: ResourceAddr = "module.a[0].aws_s3_bucket.b[\"k\"]".parse().unwrap();
        assert_eq!(addr.modules, ["a[0]"]);
        assert_eq!(addr.block, BlockAddr::resource("aws_s3_bucket", "b"));
        assert_eq!(addr.key.as_deref(), Some("\"k\""));
    }

    #[test]
    fn what_is_no_address_is_refused() {
        for text in ["", "aws_s3_bucket", "a.b[0", "a.b.c.d", "."] {
            assert!(text.parse::<ResourceAddr>().is_err(), "{text}");
        }
    }

    #[test]
    fn relative_paths_stay_inside() {
        assert_eq!(RelPath::new("./a/../b/c.tf").unwrap().as_str(), "b/c.tf");
        assert_eq!(RelPath::new("../a"), None);
        assert_eq!(RelPath::new("/a"), None);
        assert_eq!(RelPath::new("a.tf").unwrap().parent().as_str(), "");
    }
}
