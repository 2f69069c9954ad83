//! Where new blocks are to be: beside the target, or where else the module has things.
//!
//! In: the module's blocks. Out: for each attribute that says where a thing is, what a new block may hold there.

use std::collections::BTreeSet;

use std::sync::LazyLock;

use hcl_edit::expr::Expression;
use regex::Regex;

use crate::pattern::pattern;
use crate::source::{Attribute, Block, BlockAddr, references_of};

use super::provider_of;

/// Attributes that say where a thing is.
pub(super) const PLACES: [&str; 6] =
    ["compartment_id", "location", "project", "region", "resource_group_name", "tenant_id"];
/// What Azure's things are put into, and by which of its attributes.
pub(super) const GROUP: (&str, [(&str, &str); 2]) =
    ("azurerm_resource_group", [("location", "location"), ("resource_group_name", "name")]);

/// What stands in such an attribute of a block.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    of: BlockAddr,
    attribute: String,
    /// The value as it is written.
    pub text: String,
    /// The blocks that it names.
    uses: Vec<BlockAddr>,
}

impl Place {
    /// Those that a block of the module tells of.
    pub(super) fn of(block: &Block) -> Vec<Self> {
        let of = block.addr();
        let (Some(ty), [_, label]) = (of.resource_type(), of.labels.as_slice()) else { return Vec::new() };
        let mut places = Vec::new();
        if (of.keyword.as_str(), ty) == ("resource", GROUP.0) && super::Repetition::of(block).is_none() {
            places.extend(GROUP.1.map(|(attribute, its)| Self {
                of: of.clone(),
                attribute: attribute.to_owned(),
                text: format!("{ty}.{label}.{its}"),
                uses: vec![of.clone()],
            }));
        }
        let told = block.body.attributes().filter(|attribute| PLACES.contains(&attribute.key.as_str()));
        places.extend(told.filter_map(|attribute| {
            let (text, uses) = (plain(attribute)?, references_of(&attribute.expr));
            Some(Self { of: of.clone(), attribute: attribute.key.clone(), text, uses })
        }));
        places
    }

    /// What a new block may hold in an attribute: what its target holds, and that alone, or what other blocks of its provider
    /// do; nothing that names what it cannot.
    pub(super) fn for_new<'a>(
        all: &'a [Self],
        attribute: &str,
        of: &BlockAddr,
        target: &BlockAddr,
        can_name: &dyn Fn(&BlockAddr) -> bool,
    ) -> Option<Choice<'a>> {
        let provider = |addr: &BlockAddr| addr.resource_type().map(provider_of).map(str::to_owned);
        let fits = |place: &&Self| provider(&place.of) == provider(of) && place.uses.iter().all(can_name);
        let called = |name: &str| all.iter().filter(fits).filter(|place| place.attribute == name).collect::<Vec<_>>();
        let own =
            |places: &[&'a Self]| places.iter().find(|place| place.of == *target).map(|place| place.text.as_str());
        let mut same = called(attribute);
        // Every service has locations of its own there: those of another one are told by what the code computes only.
        let service =
            |addr: &BlockAddr| addr.resource_type().map(|ty| ty.splitn(3, '_').take(2).collect::<Vec<_>>().join("_"));
        if attribute == "location" && provider(of).as_deref() == Some("google") {
            same.retain(|place| service(&place.of) == service(of) || !place.text.starts_with('"'));
        }
        // A region is a location.
        let own = own(&same).or_else(|| own(&called(if attribute == "location" { "region" } else { attribute })));
        if let Some(own) = own {
            return Some(Choice { texts: BTreeSet::from([own]), is_own: true });
        }
        let texts: BTreeSet<&str> = same.iter().map(|place| place.text.as_str()).collect();
        (!texts.is_empty()).then_some(Choice { texts, is_own: false })
    }
}

/// What an attribute of a new block may hold.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Choice<'a> {
    /// One of these.
    pub texts: BTreeSet<&'a str>,
    /// Whether it is the target's own: the new block is put there even where it need not say where it is.
    pub is_own: bool,
}

/// The text of a value that means the same in another block.
fn plain(attribute: &Attribute) -> Option<String> {
    let is_plain = match &attribute.expr {
        Expression::String(_) => true,
        Expression::Traversal(_) => {
            static OWN: LazyLock<Regex> = LazyLock::new(|| pattern(r"\b(each|count|self)\."));
            !OWN.is_match(&attribute.expr.to_string())
        }
        _ => false,
    };
    is_plain.then(|| attribute.expr.to_string().trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::super::walk;
    use super::*;
    use crate::source::RelPath;

    const MODULE: &str = "resource \"azurerm_resource_group\" \"main\" {\n  location = var.location\n}\n\
        resource \"azurerm_storage_account\" \"a\" {\n  location = azurerm_resource_group.main.location\n}\n\
        resource \"azurerm_key_vault\" \"b\" {\n  for_each = var.all\n  location = azurerm_resource_group.main[each.key].location\n  tenant_id = \"x\"\n}\n\
        resource \"google_storage_bucket\" \"c\" {\n  location = \"EU\"\n  project = \"p\"\n}\n";

    fn new(attribute: &str, of: &str, target: (&str, &str), behind: &[(&str, &str)]) -> Option<(Vec<String>, bool)> {
        let tree = walk::tree(MODULE.to_owned());
        let all: Vec<Place> =
            tree.module(&RelPath::default()).flat_map(|file| file.body().blocks()).flat_map(Place::of).collect();
        let behind: BTreeSet<_> = behind.iter().map(|(ty, name)| BlockAddr::resource(*ty, *name)).collect();
        let of = BlockAddr::resource(of, "new");
        let choice =
            Place::for_new(&all, attribute, &of, &BlockAddr::resource(target.0, target.1), &|it| !behind.contains(it))?;
        Some((choice.texts.iter().map(|text| (*text).to_owned()).collect(), choice.is_own))
    }

    #[test]
    fn a_new_block_is_put_beside_its_target() {
        let account = ("azurerm_storage_account", "a");
        let beside = |attribute: &str| new(attribute, "azurerm_key_vault", account, &[]);
        assert_eq!(beside("location"), Some((vec!["azurerm_resource_group.main.location".into()], true)));
        assert_eq!(beside("resource_group_name"), Some((vec!["azurerm_resource_group.main.name".into()], false)));
        assert_eq!(beside("tenant_id"), Some((vec!["\"x\"".into()], false)));
        assert_eq!(beside("project"), None, "that is another provider's");
    }

    #[test]
    fn what_leads_back_or_is_told_of_each_is_no_place() {
        let group = ("azurerm_resource_group", "main");
        let other = new("location", "azurerm_key_vault", ("azurerm_key_vault", "b"), &[group]);
        assert_eq!(other, Some((vec!["var.location".into()], false)));
        let in_google = |of: &str| new("location", of, ("google_storage_bucket", "c"), &[]).map(|(texts, _)| texts);
        assert_eq!(in_google("google_storage_bucket"), Some(vec!["\"EU\"".into()]));
        assert_eq!(in_google("google_kms_key_ring"), None, "it has no location of that name");
    }
}
