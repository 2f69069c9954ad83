"""Checkov as a service: imported once, then one JSON line in, one JSON line out.

Standard input takes the requests, the standard output of the start is for the answers alone: Checkov's own prints and
logs go to standard error. The first line out says hello with Checkov's version, once the import is done.

    {"op": "scan", "root": DIR, "rules": [ID, ...]}   every rule if `rules` is empty
    {"op": "wish", "rules": [ID, ...]}                every rule if `rules` is empty
    {"op": "explore", ...}, {"op": "house", ...}      see explore.py
    {"op": "quit"}

An answer is {"ok": ...} or {"error": TEXT}. Nothing here goes to the network: modules are not downloaded, and the
platform mappings that Checkov's command line fetches are left out.
"""
import sys

# `python -c` puts the working directory first: a scanned folder must not be able to shadow a module.
sys.path[:] = [entry for entry in sys.path if entry]

import ast  # noqa: E402
import collections  # noqa: E402
import copy  # noqa: E402
import gc  # noqa: E402
import inspect  # noqa: E402
import json  # noqa: E402
import logging  # noqa: E402
import os  # noqa: E402
import re  # noqa: E402
import textwrap  # noqa: E402
import traceback  # noqa: E402

ANSWERS = os.fdopen(os.dup(1), "w", encoding="utf-8")
os.dup2(2, 1)
sys.stdout = sys.stderr


def answer(message):
    ANSWERS.write(json.dumps(message, default=str) + "\n")
    ANSWERS.flush()


try:
    logging.disable(logging.CRITICAL)
    from checkov.common.models.consts import ANY_VALUE
    from checkov.common.models.enums import CheckResult
    from checkov.runner_filter import RunnerFilter
    from checkov.terraform.checks.resource.base_resource_negative_value_check import BaseResourceNegativeValueCheck
    from checkov.terraform.checks.resource.base_resource_value_check import BaseResourceValueCheck
    from checkov.terraform.checks.utils.base_cloudsplaining_iam_scanner import BaseTerraformCloudsplainingIAMScanner
    from checkov.terraform.runner import Runner
    from checkov.version import version
except ImportError as error:
    answer({"missing": str(error)})
    sys.exit(1)


# ---------------------------------------------------------------------------------------------------------- scanning

MODULES = re.compile(r'^((?:module\.[^.\[]+(?:\[(?:"[^"]*"|[^\]"]*)\])?\.)*)(.*)$', re.DOTALL)


class BlockTypes(Runner):
    """Keeps a block's type with the graph rules' records, which have no place of their own for it.

    Checkov copies the context's `address` into the record; only plan scans fill it.
    """

    def get_entity_context_and_evaluations(self, entity):
        context = super().get_entity_context_and_evaluations(entity)
        return dict(context, address=entity.get("block_type_")) if context else context


def block_type(record):
    # checkov.terraform.checks.BLOCKTYPE.provider.File for the rules that are classes
    parts = record.check_class.split(".")
    if parts[:3] == ["checkov", "terraform", "checks"] and len(parts) > 3:
        return parts[3]
    return record.resource_address or "resource"


def address(record):
    kind = block_type(record)
    modules, name = MODULES.match(record.resource).groups()
    if kind == "resource" or name.startswith(kind + "."):
        return record.resource
    if kind == "provider":
        name = name.removesuffix(".default")
    return f"{modules}{kind}.{name}"


def key(record, root):
    return {
        "rule": record.check_id,
        "resource": address(record),
        "file": os.path.relpath(record.file_abs_path, root),
    }


def finding(record, root):
    details = {
        "name": record.check_name,
        "lines": list(record.file_line_range),
        "evaluated_keys": [k for k in record.check_result.get("evaluated_keys") or [] if isinstance(k, str)],
        "severity": getattr(record.severity, "name", None),
        "guideline": record.guideline,
    }
    return key(record, root) | details


def forget():
    """Checkov keeps the policies that it parsed by their address, whatever is written there by now."""
    getattr(BaseTerraformCloudsplainingIAMScanner, "policy_document_cache", {}).clear()


def scan(request):
    forget()
    root = os.path.abspath(request["root"])
    selection = RunnerFilter(framework=["terraform"], checks=request.get("rules") or None, download_external_modules=False, show_progress_bar=False)
    # A runner keeps what it parsed: each scan has its own.
    report = BlockTypes().run(root_folder=root, runner_filter=selection)
    found = {
        "failed": [finding(r, root) for r in report.failed_checks],
        "passed": [key(r, root) for r in report.passed_checks],
        "skipped": [key(r, root) for r in report.skipped_checks],
        "parse_errors": [os.path.relpath(path, root) for path in report.parsing_errors],
    }
    del report
    gc.collect()
    return found


# ------------------------------------------------------------------------------------------------------------ wishes

# Attributes that every check has; what else an instance carries are the rule's own parameters.
COMMON = {
    "name", "id", "bc_id", "categories", "block_type", "supported_entities", "supported_resources", "guideline",
    "logger", "path", "details", "entity_path", "entity_type", "entity_conf", "entity_name", "benchmarks", "severity",
    "bc_category", "graph", "evaluated_keys", "missing_block_result", "missing_attribute_result", "check_fail_level",
    "supported_data", "supported_provider", "supported_providers", "supported_modules", "kind",
}
# Methods that tell nothing about the rule.
BOILERPLATE = {"__init__", "get_evaluated_keys"}
# Methods that are told as key and values.
GETTERS = {"get_inspected_key", "get_expected_value", "get_expected_values", "get_forbidden_values"}
PLAIN = (str, int, float, bool, type(None))


def is_plain(value):
    if isinstance(value, (list, tuple, set, frozenset)):
        return all(is_plain(v) for v in value)
    if isinstance(value, dict):
        return all(is_plain(v) for v in [*value.keys(), *value.values()])
    return isinstance(value, PLAIN)


def as_json(values):
    """Values as JSON has them; None where one is something else (a type, a pattern)."""
    values = list(values) if isinstance(values, (list, tuple, set, frozenset)) else [values]
    return [v for v in values if is_plain(v)]


class Shorten(ast.NodeTransformer):
    """Drops annotations, docstrings, logging and bookkeeping: what is left is the rule."""

    def visit_FunctionDef(self, node):
        node.returns = None
        node.decorator_list = []
        for arg in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
            arg.annotation = None
        self.generic_visit(node)
        node.body = node.body or [ast.Pass()]
        return node

    def visit_AnnAssign(self, node):
        if node.value is None:
            return None
        return ast.copy_location(ast.Assign([node.target], node.value), node)

    def visit_Expr(self, node):
        text = ast.unparse(node)
        noise = isinstance(node.value, ast.Constant) or text.startswith(("logging.", "self.logger.")) or "evaluated_keys" in text
        return None if noise else node

    def visit_Assign(self, node):
        return None if "evaluated_keys" in ast.unparse(node.targets[0]) else node

    def visit_AugAssign(self, node):
        return None if "evaluated_keys" in ast.unparse(node.target) else node

    def visit_If(self, node):
        self.generic_visit(node)
        if not node.body and not node.orelse:
            return None
        node.body = node.body or [ast.Pass()]
        return node

    def visit_For(self, node):
        self.generic_visit(node)
        return node if node.body else None


def shortened(node):
    return ast.unparse(ast.fix_missing_locations(Shorten().visit(node)))


def names_in(text):
    return set(re.findall(r"[A-Za-z_]\w*", text))


def own_classes(cls):
    """The class and those that it inherits from, up to Checkov's general bases."""
    for c in cls.__mro__:
        file = c.__module__.rsplit(".", 1)[-1]
        if c.__module__.startswith("checkov.terraform.checks.") and not file.startswith("base_"):
            yield c


def helpers(module, wanted, seen):
    """Module-level constants and functions that the text uses, and what these use."""
    tree = ast.parse(inspect.getsource(module))
    texts = []
    for node in tree.body:
        if isinstance(node, ast.FunctionDef) and node.name in wanted and node.name not in seen:
            seen.add(node.name)
            texts.append(shortened(node))
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {t.id for t in targets if isinstance(t, ast.Name)} & wanted - seen - {"check"}
            if names:
                seen |= names
                texts.append(shortened(node))
        elif isinstance(node, ast.ImportFrom) and (node.module or "").startswith("checkov."):
            for alias in node.names:
                name = alias.asname or alias.name
                value = getattr(module, name, None)
                if name not in wanted or name in seen or name == "ANY_VALUE":
                    continue
                if not callable(value) and is_plain(value) and len(repr(value)) <= 400:
                    seen.add(name)
                    texts.append(f"{name} = {value!r}")
    if texts:
        texts = helpers(module, names_in("\n".join(texts)), seen) + texts
    return texts


def source_of(check, left_out):
    """The rule as code: constants, parameters, the methods of its class (the scan first), then inherited ones."""
    parameters = [
        f"{name} = {value!r}"
        for name, value in vars(check).items()
        if name not in COMMON and not name.startswith("_") and is_plain(value) and len(repr(value)) <= 400
    ]
    constants, methods, taken, seen = [], [], set(left_out), set()
    for c in own_classes(type(check)):
        body = ast.parse(textwrap.dedent(inspect.getsource(c))).body[0].body
        texts = []
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                if node.name in taken:
                    continue
                taken.add(node.name)
                texts.append((not node.name.startswith("scan"), shortened(node)))
            elif isinstance(node, (ast.Assign, ast.AnnAssign)):
                texts.append((False, shortened(node)))
        texts = [text for _, text in sorted(texts, key=lambda pair: pair[0]) if text.strip()]
        constants += helpers(sys.modules[c.__module__], names_in("\n".join(texts)), seen)
        methods += texts
    # Without a method to read there is no rule in it.
    text = "\n".join(constants + parameters + methods) if methods else ""
    return text.replace("CheckResult.", "")


def key_wish(check, wish):
    """Key and values of the rules that say them."""
    positive = isinstance(check, BaseResourceValueCheck)
    base = BaseResourceValueCheck if positive else BaseResourceNegativeValueCheck
    keys = {}
    for entity in check.supported_entities:
        # Some rules look at another attribute for each resource type.
        check.entity_type = entity
        inspected = check.get_inspected_key()
        if isinstance(inspected, str):
            keys[entity] = inspected
    values = as_json(check.get_expected_values() if positive else check.get_forbidden_values())
    named = [v for v in values if v != ANY_VALUE]
    missing = check.missing_block_result if positive else check.missing_attribute_result
    wish["inspected_key"] = next(iter(keys.values()), None)
    if len(set(keys.values())) > 1:
        wish["keys_by_type"] = keys
    wish["expected" if positive else "forbidden"] = named
    wish["any_value" if positive else "forbid_any"] = ANY_VALUE in values
    wish["absent_passes"] = missing == CheckResult.PASSED
    wish["code"] = type(check).scan_resource_conf is not base.scan_resource_conf


def class_wish(check):
    wish = {"rule": check.id, "title": check.name, "resource_types": list(check.supported_entities), "code": True}
    if isinstance(check, (BaseResourceValueCheck, BaseResourceNegativeValueCheck)):
        try:
            key_wish(check, wish)
        except Exception:  # a rule whose key depends on more than the type is taken as code
            wish = {k: wish[k] for k in ("rule", "title", "resource_types")} | {"code": True}
    left_out = BOILERPLATE | GETTERS if wish.get("inspected_key") else BOILERPLATE
    try:
        wish["source"] = source_of(check, left_out) or None
    except (OSError, TypeError, SyntaxError):
        pass  # installed without sources
    return wish


def types_in(definition):
    """The resource types that a graph rule reports on: those it filters for, else those it asks attributes of."""
    filtered, asked = [], []

    def walk(node):
        if isinstance(node, list):
            for item in node:
                walk(item)
        elif isinstance(node, dict):
            if node.get("cond_type") == "filter" and node.get("attribute") == "resource_type":
                value = node.get("value")
                filtered.extend(value if isinstance(value, list) else [value])
            elif node.get("cond_type") == "attribute":
                value = node.get("resource_types")
                asked.extend(value if isinstance(value, list) else [value])
            for item in node.values():
                walk(item)

    walk(definition)
    return [t for t in dict.fromkeys(filtered or asked) if isinstance(t, str)]


def load_definition(path, file):
    if path.endswith(".json"):
        return json.load(file)["definition"]
    import yaml

    return yaml.safe_load(file)["definition"]


def graph_wish(check):
    with open(check.check_path, encoding="utf-8") as file:
        definition = load_definition(check.check_path, file)
    return {"rule": check.id, "title": check.name, "resource_types": types_in(definition), "graph": definition}


def wishes(request):
    wanted = set(request.get("rules") or [])
    found = {}
    runner = Runner()
    for registry in runner.block_type_registries.values():
        for _, check in registry.all_checks():
            if check.id not in found and (not wanted or check.id in wanted):
                found[check.id] = class_wish(check)
    runner.graph_registry.load_checks()
    for check in runner.graph_registry.checks:
        if check.id not in found and (not wanted or check.id in wanted):
            found[check.id] = graph_wish(check)
    return [found[rule] for rule in sorted(found)]


def types_named(node):
    """Every resource type that a graph rule names, in whatever role."""
    if isinstance(node, list):
        return {name for item in node for name in types_named(item)}
    if not isinstance(node, dict):
        return set()
    named = {name for item in node.values() for name in types_named(item)}
    for role in ("resource_types", "connected_resource_types"):
        value = node.get(role)
        named.update(value if isinstance(value, list) else [value])
    return named


def resource_types(_request):
    """Every resource type that some rule knows."""
    runner = Runner()
    named = {entity for _, check in runner.block_type_registries["resource"].all_checks() for entity in check.supported_entities}
    runner.graph_registry.load_checks()
    for check in runner.graph_registry.checks:
        with open(check.check_path, encoding="utf-8") as file:
            named |= types_named(load_definition(check.check_path, file))
    return sorted(name for name in named if isinstance(name, str) and re.fullmatch(r"[a-z0-9]+_[a-z0-9_]+", name))


OPERATIONS = {"scan": scan, "wish": wishes, "types": resource_types}


def main():
    Runner().graph_registry.load_checks()
    # What is loaded by now stays: the collection after each scan need not look at it again.
    gc.collect()
    gc.freeze()
    answer({"hello": version})
    for line in sys.stdin:
        if not line.strip():
            continue
        try:
            request = json.loads(line)
            if request["op"] == "quit":
                return
            reply = {"ok": OPERATIONS[request["op"]](request)}
        except Exception as error:
            where = traceback.extract_tb(error.__traceback__)[-1]
            reply = {"error": f"{type(error).__name__}: {error} ({where.filename}:{where.lineno})"}
        answer(reply)
