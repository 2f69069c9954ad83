# What would satisfy a rule, by asking the rule itself.
#
#     {"op": "explore", "root": DIR, "rule": ID, "file": PATH, "type": TYPE, "name": NAME, "schema": BLOCK}
#
# A rule that is code says what it wants to nobody but Python. But it can be run, and a run takes microseconds: so it is
# asked about the block as it stands with one thing changed, then with two and more. What is worth changing is found in
# the rule's own text (names of attributes and values that it compares them with); which first step of several is worth a
# second one is told by what it reaches of the rule for the first time, as fuzzers do it (coverage guidance).
#
# The answer holds whether the rule looks at anything that can be set ("settable"), and as "ways" a list of alternatives,
# each a list of changes that let the rule pass together:
#
#     {"path": [NAME, ...], "at": [N, ...] or null, "must": "be", "values": [V, ...]}    one of these values
#     {..., "must": "exist", "but": [V, ...]}   any value but these      {..., "must": "absent"}   taken out
#
# `at` tells which of several nested blocks have to change: the first list of more than one on the path. "new": true asks
# for one more. "inside": [KEY or POSITION, ...] leads on into the JSON document that the attribute holds. Appended to
# worker.py.

# Runs of the rule, at most, for a block of so many characters, at most; longer ones get fewer. A clock would make the
# answer depend on the machine.
RUNS, SIZE = 3000, 4000
# Changes of an alternative, at most.
CHANGES = 6
# States that are gone on from, at most.
FRONTIER = 24
# A text that no rule knows, a number that none does, and what is appended to see whether a text may go on.
TEXT, NUMBER, MORE = "caulk-explores", 987654, "-caulk"
# The version of an image or a package, as a text ends with it.
TAG, LATEST = ":1.0", ":latest"
# What switches something on, in maps of texts.
FLAGS = [True, "true", "TRUE", "on"]
ABSENT = object()
# What blocks of a type are told apart by: with another one, it is another block.
NAMES = {"name", "id", "key", "namespace", "rule_id", "sid"}
# In an ARN: in any account.
ANYWHERE = "::*:"
# What a document is.
KEPT = {"Version", "Id", "Sid", "Type"}
VERSION = re.compile(r"\d+(\.\d+)+")
EXPRESSION = re.compile(r"\$\{|%\{|^(?:var|local|data|module|each|count|path|[a-z0-9]+_[a-z0-9_]+)\.")
CHECKS_FOLDER = os.sep.join(["checkov", "terraform", "checks"])


class Spent(Exception):
    """All runs are used up."""


def constants(check):
    """The plain values in the rule's text and parameters, each once, in their order; lists of them as well."""
    try:
        tree = ast.parse(source_of(check, {"__init__"}))
    except (OSError, TypeError, SyntaxError):
        # Installed without sources.
        tree = ast.Module([], [])
    values, lists = [], []
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, (str, int, float)):
            values.append(node.value)
        elif isinstance(node, (ast.List, ast.Tuple, ast.Set)) and len(node.elts) > 1:
            if all(isinstance(e, ast.Constant) and isinstance(e.value, str) for e in node.elts):
                lists.append([e.value for e in node.elts])
    for getter in ("get_inspected_key", "get_expected_values", "get_forbidden_values"):
        try:
            found = getattr(check, getter)()
        except Exception:
            continue
        values += [v for v in (found if isinstance(found, (list, tuple, set)) else [found]) if isinstance(v, PLAIN)]
    # Constants of its module: durations are computed there.
    named = vars(sys.modules.get(type(check).__module__, object))
    values += [v for name, v in named.items() if name.isupper() and isinstance(v, (str, int)) and not isinstance(v, bool)]
    unique = list({(type(v), v): v for v in values if v is not None and v != ANY_VALUE}.values())
    return unique, lists


class Shape:
    """What a block may hold, as caulk's schemas write it."""

    def __init__(self, schema):
        self.attributes = schema.get("a", {})
        self.blocks = {name: (Shape(nested), nested) for name, nested in schema.get("b", {}).items()}
        for name, attribute in self.attributes.items():
            kind = attribute["t"]
            inner = next(iter(kind.values())) if isinstance(kind, dict) else None
            # A list of objects can be written as blocks.
            if isinstance(inner, dict) and "object" in inner and next(iter(kind)) in ("list", "set"):
                self.blocks[name] = (Shape({"a": inner["object"]}), {})

    def limit(self, path):
        """How many blocks there may be; 0 for any number."""
        shape, nested = self.blocks[path[0]]
        if path[1:]:
            return shape.limit(path[1:])
        return 1 if nested.get("n") in ("single", "group") else nested.get("x", 0)

    def required(self):
        """A block that holds what must be there and nothing else."""
        conf = {}
        for name, attribute in self.attributes.items():
            if attribute["u"] == "r" and name not in self.blocks:
                conf[name] = [{"string": TEXT, "number": NUMBER, "bool": False}.get(str(attribute["t"]), [TEXT])]
        for name, (shape, nested) in self.blocks.items():
            if nested.get("i", 0) > 0:
                conf[name] = [shape.required() for _ in range(nested["i"])]
        return conf

    def paths(self, names, before=()):
        """The attributes and blocks that the rule may look at, with their types; None for a block."""
        for name, attribute in self.attributes.items():
            if name in names and attribute["u"] != "c" and name not in self.blocks:
                yield (*before, name), attribute["t"]
        for name, (shape, _) in self.blocks.items():
            if name in names and len(before) < 6:
                yield (*before, name), None
                yield from shape.paths(names, (*before, name))


class Change:
    def __init__(self, path, value, at=None, new=False):
        self.path, self.value, self.at, self.new = path, value, at, new

    def apply(self, conf, shape):
        """Whether it changed anything."""
        if not self.new:
            return self.put(conf, shape, self.path, self.at)
        *outer, name, leaf = self.path
        for block in outer:
            conf, shape = conf[block][0], shape.blocks[block][0]
        shape = shape.blocks[name][0]
        if self.at is None:
            conf[name].append(shape.required())
        return self.put(conf[name][self.at[0] if self.at else -1], shape, (leaf,), None)

    def put(self, conf, shape, path, at):
        name, rest = path[0], path[1:]
        present = conf.get(name)
        if not rest:
            if self.value is ABSENT:
                return conf.pop(name, ABSENT) is not ABSENT
            if name in shape.blocks:
                if present:
                    return False
                conf[name] = [shape.blocks[name][0].required()]
            elif present == [self.value]:
                return False
            else:
                conf[name] = [copy.deepcopy(self.value)]
            return True
        nested = shape.blocks[name][0]
        if not present:
            if self.value is ABSENT:
                return False
            present = conf[name] = [nested.required()]
        if not isinstance(present, list) or not all(isinstance(block, dict) for block in present):
            return False
        several = len(present) > 1
        changed = [
            self.put(block, nested, rest, None if several else at)
            for index, block in enumerate(present)
            if not several or at is None or index in at
        ]
        return any(changed)

    def count(self, conf):
        """How many blocks the first list of several on the path has; 0 without one."""
        for name in self.path[:-1]:
            present = conf.get(name)
            if not isinstance(present, list) or not present or not isinstance(present[0], dict):
                return 0
            if len(present) > 1:
                return len(present)
            conf = present[0]
        return 0


class Inside(Change):
    """A change in the JSON document that an attribute holds."""

    def __init__(self, name, steps, value):
        super().__init__((name,), value)
        self.steps = steps

    def apply(self, conf, shape):
        document = document_in(conf, self.path[0])
        *outer, last = self.steps
        inner = document
        for step in outer:
            inner = inner[step]
        if self.value is ABSENT:
            del inner[last]
        else:
            inner[last] = self.value
        as_text = isinstance(conf[self.path[0]][0], str)
        conf[self.path[0]] = [json.dumps(document) if as_text else document]
        return True


class Explorer:
    def __init__(self, check, kind, conf, shape):
        self.check, self.kind, self.conf, self.shape = check, kind, conf, shape
        self.values, self.lists = constants(check)
        texts = [value for value in self.values if isinstance(value, str)]
        names = {name for text in texts for name in re.findall(r"[A-Za-z_]\w*", text)}
        # Keys of documents are named alone or in a path.
        self.keys = sorted({key for text in texts for key in text.split("/") if key.isidentifier()})
        self.paths = list(shape.paths(names))
        # Names of attributes are no values of any, and neither are types.
        taken = {name for path, _ in self.paths for name in path} | set(check.supported_entities)
        self.texts = [text for text in texts if text and text not in taken and len(text) <= 80 and "/[" not in text]
        self.numbers = [value for value in self.values if isinstance(value, (int, float)) and not isinstance(value, bool)]
        # The values that one change alone was tried with, and that did not do, by its place.
        self.failed = collections.defaultdict(list)
        self.runs, self.most = 0, RUNS * SIZE // max(SIZE, len(repr(conf)))
        self.counts = False

    def run(self, conf):
        """The rule's result and the instructions that led to it."""
        forget()
        self.runs += 1
        if self.runs > self.most:
            raise Spent
        reached = collections.Counter()

        def trace(frame, event, _argument):
            code = frame.f_code
            if CHECKS_FOLDER not in code.co_filename:
                return None
            # Conditions stand side by side on a line.
            frame.f_trace_lines, frame.f_trace_opcodes = False, True
            if event == "opcode":
                reached[code.co_filename, code.co_firstlineno, frame.f_lasti] += 1
            return trace

        sys.settrace(trace)
        try:
            result = self.check.scan_entity_conf(conf, self.kind)
        except Exception:
            result = None
        finally:
            sys.settrace(None)
        # One more block takes the same way as the others at first: only how often it was taken tells.
        reached = frozenset(reached.items() if self.counts else reached)
        return (result[0] if isinstance(result, tuple) else result), reached

    def changed(self, conf, changes):
        """The block with changes; None when one of them changes nothing."""
        conf = copy.deepcopy(conf)
        for change in changes:
            if not change.apply(conf, self.shape):
                return None
        return conf

    def passes(self, changes):
        conf = self.changed(self.conf, changes)
        return conf is not None and self.run(conf)[0] == CheckResult.PASSED

    def candidates(self, conf, path, kind):
        """Values to try at a path, the likeliest first."""
        if kind is None:
            return [None]
        if kind == "bool":
            return [True, False]
        if kind == "number":
            near = [n + step for step in (0, 1, -1) for n in self.numbers if n + step >= 0]
            return list(dict.fromkeys([*near, NUMBER]))
        if kind == "string":
            # Checkov reads `"true"` as True.
            flags = [value for value in self.values if isinstance(value, bool)]
            versions = [text + ".0" for text in self.texts if VERSION.fullmatch(text)]
            durations = [f"{n}s" for n in self.numbers if n > 0]
            names = [v.removesuffix(LATEST) for v in values_at(conf, path) if isinstance(v, str) and not EXPRESSION.search(v)]
            tagged = [name + TAG for name in names or [TEXT] if name and ":" not in name]
            spelt = [other for name in names if path[-1].endswith("name") for other in spellings(name) if other != name]
            return [*self.texts, *versions, *(str(n) for n in self.numbers), *durations, *flags, TEXT, *tagged, *spelt]
        if kind == "any":
            return [True, False, *self.texts, *self.numbers, TEXT]
        outer, inner = next(iter(kind.items())) if isinstance(kind, dict) else (None, None)
        present = values_at(conf, path) or [None]
        if outer in ("list", "set") and inner == "string":
            less, more = zip(*(self.less_and_more(old) for old in present))
            return [*sum(less, []), *sum(more, []), *([t] for t in self.texts), [TEXT], []]
        if outer == "map":
            old = dict(present[0]) if isinstance(present[0], dict) and present[0] != {TEXT: TEXT} else {}
            texts = self.texts[:24]
            values = [*FLAGS, *texts]
            # Some want no more than that there is something.
            any_entry = [] if old else [{TEXT: TEXT}]
            return [*any_entry, *[old | {k: v} for k in texts for v in values if k != v][:400]]
        return []

    def less_and_more(self, old):
        """A list without what the rule knows, or without one of its elements; and with what the rule knows."""
        old = old if isinstance(old, list) and all(isinstance(v, str) for v in old) else []
        # Expressions are no values that could be written anew.
        old = [] if any(EXPRESSION.search(v) for v in old) else old
        bad = [v for v in old if any(t in v for t in self.texts)]
        less = [[v for v in old if v not in bad], *([v for v in old if v != one] for one in old)]
        more = [old + [v for v in new if v not in old] for new in [*self.lists, *([t] for t in self.texts)]]
        return tuple([v for v in lists if v and v != old] for lists in (less, more))

    def steps(self, conf):
        for path, kind in self.paths:
            if len(path) > 1 and path[-1] in NAMES and values_at(self.conf, path) and self.shape.limit(path[:-1]) != 1:
                continue
            # A document is no text that another one could take the place of.
            is_document = kind == "string" and len(path) == 1 and document_in(conf, path[0]) is not None
            for value in () if is_document else self.candidates(conf, path, kind):
                yield Change(path, value), kind
            yield Change(path, ABSENT), kind
        for name, attribute in self.shape.attributes.items():
            document = document_in(conf, name) if attribute["t"] == "string" and attribute["u"] != "c" else None
            for steps, value, kind in self.inside(document, ()):
                yield Inside(name, steps, value), kind

    def inside(self, node, steps):
        """Changes in a document: flags and numbers are set, and what the rule names."""
        if isinstance(node, dict):
            if "Effect" in node:
                yield from self.of_statement(node, steps)
                return
            for key, inner in node.items():
                if key not in KEPT:
                    yield from self.inside(inner, (*steps, key))
                    if key in self.keys and not isinstance(inner, (dict, list)):
                        yield (*steps, key), ABSENT, None
            for key in self.keys:
                if key not in node and key not in KEPT:
                    yield from (((*steps, key), value, "bool") for value in (True, False))
        elif isinstance(node, list):
            for index, inner in enumerate(node):
                yield from self.inside(inner, (*steps, index))
                if len(node) > 1 and isinstance(inner, str) and inner in self.texts:
                    yield (*steps, index), ABSENT, None
        elif isinstance(node, bool):
            yield steps, not node, "bool"
        elif isinstance(node, (int, float)):
            yield from ((steps, value, "number") for value in self.candidates({}, steps, "number"))
        elif isinstance(node, str):
            yield from ((steps, value, "string") for value in self.texts if value != node and value not in self.keys)

    @staticmethod
    def of_statement(statement, steps):
        """Changes in a statement of a policy: whom it allows something is narrowed, and what stands for anything beside
        other things is taken out (AWS IAM, "JSON policy elements reference"). Of what it denies, and of what it allows but
        for something, nothing is made less: that would allow more."""
        if statement["Effect"] != "Allow":
            return
        for key in ("Principal", "Action", "Resource"):
            path, node = (*steps, key), statement.get(key)
            if key == "Principal" and isinstance(node, dict):
                path, node = (*path, "AWS"), node.get("AWS")
            if isinstance(node, str) and key == "Principal" and (node == "*" or ANYWHERE in node):
                yield path, TEXT, "string"
            for index, inner in enumerate(node if isinstance(node, list) else []):
                if path[-1] == "AWS" and isinstance(inner, str) and ANYWHERE in inner:
                    yield (*path, index), TEXT, "string"
                if inner == "*":
                    if len(node) > 1:
                        yield (*path, index), ABSENT, None
                    elif path[-1] == "AWS":
                        yield (*path, index), TEXT, "string"

    def additions(self):
        """The blocks of which one more could stand, with their attributes and how many there are."""
        for block, kind in self.paths:
            several = blocks_at(self.conf, block)
            if kind is None and len(several) == 1 and several[0] and self.shape.limit(block) != 1:
                leaves = [(path, kind) for path, kind in self.paths if path[:-1] == block and kind]
                yield leaves, len(several[0])

    def explore(self):
        found = []
        try:
            self.search(lambda trail: self.steps(self.changed(self.conf, trail)), found)
            if not any(self.is_sound(changes) for changes, _ in found):
                self.counts = True
                for leaves, count in self.additions():

                    def steps(trail, leaves=leaves, count=count):
                        at = (count,) if trail else None
                        for path, kind in leaves:
                            for value in self.candidates({}, path, kind):
                                yield Change(path, value, at, True), kind

                    self.search(steps, found)
        except Spent:
            pass
        # What was found is told whole: that takes some runs of its own.
        self.runs = 0
        return self.alternatives(found)

    def search(self, steps, found):
        """Adds what passes: by one step, else by two and more, each step after one that reaches something new."""
        _, reached = self.run(copy.deepcopy(self.conf))
        seen, frontier, before = {reached}, [()], len(found)
        for _ in range(CHANGES):
            later = []
            for trail in frontier:
                for step, kind in steps(trail):
                    self.step((*trail, step), kind, found, seen, later)
            if len(found) > before:
                break
            # Those that have come furthest first.
            later.sort(key=lambda state: -state[0])
            frontier = [changes for _, changes in later[:FRONTIER]]

    def step(self, changes, kind, found, seen, later):
        conf = self.changed(self.conf, changes)
        if conf is None:
            return
        result, reached = self.run(conf)
        if result == CheckResult.PASSED:
            found.append((changes, kind))
        elif len(changes) == 1 and result == CheckResult.FAILED and not isinstance(changes[0], Inside):
            value = changes[0].value
            self.failed[changes[0].path].extend(value if isinstance(value, list) else [value])
        # Where a rule breaks off, something is missing that it did not expect to be.
        if result not in (CheckResult.PASSED, CheckResult.SKIPPED) and reached not in seen and changes[-1].value is not ABSENT:
            seen.add(reached)
            later.append((len(reached), changes))

    @staticmethod
    def is_sound(changes):
        """Whether something is set, to something."""
        return not any(change.value is ABSENT or change.value == [] for change in changes)

    def alternatives(self, found):
        """What passes, the values of the last change joined."""
        groups = {}
        for changes, kind in found:
            *before, last = changes
            place = (last.path, getattr(last, "steps", None), last.new)
            key = (
                tuple((c.path, getattr(c, "steps", None), repr(c.value), c.new) for c in before), place,
                "absent" if last.value is ABSENT else "be",
            )
            groups.setdefault(key, (before, last, kind, []))[3].append(last.value)
        answers = []
        for before, last, kind, values in groups.values():
            try:
                whole = (*before, Change(last.path, values[0], last.at, last.new))
                at = self.narrowed(whole)
                changes = [self.told_step(change, whole, at) for change in before]
                answer = [*changes, self.told(last, values, kind, at, tuple(before))]
            except Spent:
                # Which blocks it means is not known, and in all of them it would change others as well.
                continue
            # Of one place the last change holds, and in another order it is the same.
            answer = list({repr({**change, "must": None, "values": None, "but": None}): change for change in answer}.values())
            if not any(len(answer) == len(known) and all(change in known for change in answer) for known in answers):
                answers.append(answer)
        return answers

    def narrowed(self, changes):
        """Which blocks have to change, where each change leads through the same list of several; None for all."""
        several = {0 if change.new else change.count(self.conf) for change in changes}
        if len(several) != 1 or several == {0} or len({change.path[0] for change in changes}) != 1:
            return None
        # What hardens one of them hardens the others as well.
        if all(isinstance(change.value, bool) for change in changes):
            return None
        needed = list(range(several.pop()))
        for index in list(needed):
            fewer = [n for n in needed if n != index]
            if fewer and self.passes([Change(change.path, change.value, fewer) for change in changes]):
                needed = fewer
        return needed

    def told_step(self, change, whole, at):
        """A step on the way to what passes: as it was tried, unless any text does as well there."""
        told = self.told(change, [change.value], None, at)
        if isinstance(change.value, str) and not isinstance(change, Inside):
            other = Change(change.path, TEXT, change.at, change.new)
            try:
                if self.passes([other if step is change else step for step in whole]):
                    return {key: value for key, value in told.items() if key != "values"} | {"must": "exist"}
            except Spent:
                # As it was tried, it does.
                pass
        return told

    def told(self, change, values, kind, at, before=()):
        told = {"path": list(change.path), "at": at, "new": change.new}
        if isinstance(change, Inside):
            told |= {"at": None, "inside": list(change.steps)}
            if TEXT in values:
                return told | {"must": "exist"}
        if values[0] is ABSENT:
            return told | {"must": "absent"}
        if values[0] is None:
            return told | {"must": "exist"}
        if values[0] == {TEXT: TEXT}:
            return told | {"must": "exist"}
        if isinstance(values[0], dict):
            # Maps are merged by key.
            present = values_at(self.conf, change.path)
            old = present[0] if present and isinstance(present[0], dict) else {}
            values = [{k: v for k, v in value.items() if k not in old or old[k] != v} for value in values]
            # A flag that does as any text would says that there is to be one.
            opened = [{k: None for k in value} for value in values if all(v in FLAGS for v in value.values())]
            texts = old | dict.fromkeys(opened[0], TEXT) if opened else None
            if texts and self.passes((*before, Change(change.path, texts, told["at"], change.new))):
                values = opened[:1]
            return told | {"must": "be", "values": values}
        if kind is None:
            # A step on the way to what passes: its value is as it was tried.
            return told | {"must": "be", "values": values}
        if kind == "number":
            # What a number may be is bounded by those of the rule: all that pass, unless every one does.
            every = len(values) == len(set(self.candidates(self.conf, change.path, kind)))
            # What passes only next to them says that more than nothing is wanted, or less than all.
            bounded = [v for v in values if v != NUMBER] if any(v in self.numbers for v in values) else []
            return told | ({"must": "be", "values": bounded} if bounded and not every else self.anything_but(change, before))
        # What is left of a list, or added to it, is better than another one.
        kept = [v for v in values if isinstance(v, list) and v and v != [TEXT] and self.is_from(change, v)]
        if kept:
            return told | {"must": "be", "values": kept[:1]}
        if isinstance(change, Inside):
            return told | {"must": "be", "values": values}
        at = change.at if change.new else told["at"]
        # The runs may have been used up before anything was tried.
        anything = [TEXT] if isinstance(values[0], list) else TEXT
        if kind != "bool":
            if anything in values or self.passes((*before, Change(change.path, anything, at, change.new))):
                return told | self.anything_but(change, before)
        if kind == "string" and all(isinstance(v, str) and v.endswith(TAG) for v in values):
            # Which version, the rule does not say.
            return told | self.anything_but(change, before)
        if kind == "string" and all(isinstance(v, str) for v in values):
            # A text that may go on was only the start of one, or a part; the value of a parameter may be one in a list of them.
            if self.passes((*before, Change(change.path, values[0] + MORE, at, change.new))):
                is_one_of_several = change.path[-1] == "value" and self.passes((*before, Change(change.path, MORE + values[0], at, change.new)))
                if not is_one_of_several:
                    return told | self.anything_but(change, before)
        return told | {"must": "be", "values": values}

    def anything_but(self, change, before):
        """Any value but those that are known to fail: that were tried, and the one that is there alone."""
        if before or isinstance(change, Inside):
            # What fails alone may do with others.
            return {"must": "exist"}
        failed = list(self.failed[change.path])
        for present in values_at(self.conf, change.path):
            failed += present if isinstance(present, list) and len(present) == 1 else [present]
        plain = [v for v in failed if isinstance(v, (str, int, float)) and not isinstance(v, bool) and v not in ("", TEXT, NUMBER)]
        # Expressions are evaluated by others.
        plain = [v for v in plain if not (isinstance(v, str) and EXPRESSION.search(v))]
        # Without a version, or with one that moves, it is the same.
        if any(text in LATEST for text in self.texts if len(text) > 1):
            present = values_at(self.conf, change.path)
            plain += [v + LATEST for v in plain if v in present and isinstance(v, str) and ":" not in v]
        return {"must": "exist", "but": list(dict.fromkeys(plain))}

    def is_from(self, change, value):
        return any(isinstance(old, list) and any(v in old for v in value) for old in values_at(self.conf, change.path))


def spellings(name):
    """A name as rules about names want it: in small letters, the parts of it joined by one sign or by none."""
    words = re.findall(r"[a-z0-9]+", name.lower())
    return list(dict.fromkeys(joint.join(words) for joint in ("-", "_", "") if words))


def blocks_at(conf, path):
    """The lists of nested blocks that a path leads to: one for each block around them."""
    blocks = [conf]
    for name in path[:-1]:
        nested = [block.get(name) for block in blocks]
        blocks = [block for several in nested if isinstance(several, list) for block in several if isinstance(block, dict)]
    found = [block.get(path[-1]) for block in blocks]
    return [several for several in found if isinstance(several, list)]


def document_in(conf, name):
    """A copy of the JSON document that a top-level attribute holds; None where it holds none."""
    present = conf.get(name)
    value = present[0] if isinstance(present, list) and present else None
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return None
    is_document = isinstance(value, dict) or isinstance(value, list) and any(isinstance(one, dict) for one in value)
    return copy.deepcopy(value) if is_document else None


def values_at(conf, path):
    """The values of an attribute, in all blocks that the path leads through."""
    return [several[0] for several in blocks_at(conf, path) if several]


def block_of(check, request):
    """The block as the rule sees it, variables and locals filled in; None when the rule does not fail on it."""
    found = []
    scan = check.scan_entity_conf

    def listen(conf, kind):
        before = copy.deepcopy(conf)
        result = scan(conf, kind)
        status = result[0] if isinstance(result, tuple) else result
        found.append((check.entity_path, kind, before, status))
        return result

    check.scan_entity_conf = listen
    try:
        selection = RunnerFilter(framework=["terraform"], checks=[check.id], download_external_modules=False, show_progress_bar=False)
        Runner().run(root_folder=os.path.abspath(request["root"]), runner_filter=selection)
    finally:
        del check.scan_entity_conf
    for path, kind, conf, status in found:
        file, _, name = path.rpartition(":")
        file = file.rpartition(":")[0].lstrip("/")
        if status == CheckResult.FAILED and re.sub(r"\[.*", "", name) == request["name"] and kind == request["type"]:
            if file == request["file"]:
                return {key: value for key, value in conf.items() if not key.startswith("__")}
    return None


def all_checks():
    """All rules that are code, each once."""
    checks = [check for registry in Runner().block_type_registries.values() for _, check in registry.all_checks()]
    return {check.id: check for check in checks}


def explore(request):
    check = all_checks().get(request["rule"])
    conf = block_of(check, request) if check is not None else None
    if conf is None:
        return {"ways": [], "settable": True}
    explorer = Explorer(check, request["type"], conf, Shape(request["schema"]))
    return {"ways": explorer.explore(), "settable": next(explorer.steps(conf), None) is not None}


def house(request):
    wanted = {kind: [] for kind in request["types"]}
    for _, check in sorted(all_checks().items()):
        if check.block_type != "resource":
            continue
        for kind in wanted.keys() & set(check.supported_entities):
            shape = Shape(request["types"][kind])
            try:
                explorer = Explorer(check, kind, shape.required(), shape)
                if explorer.run(shape.required())[0] == CheckResult.FAILED:
                    wanted[kind].append(explorer.explore())
            except Exception:
                # A rule that cannot be explored wants nothing that could be told.
                continue
    return wanted


OPERATIONS |= {"explore": explore, "house": house}
