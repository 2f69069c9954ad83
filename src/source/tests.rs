//! Hard files, references, and that no text makes the parser panic.

use std::path::{Path, PathBuf};

use super::*;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/hcl");

fn path(text: &str) -> RelPath {
    RelPath::new(text).unwrap()
}

fn fixtures() -> Vec<(PathBuf, Vec<u8>)> {
    let paths = std::fs::read_dir(FIXTURES).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = paths.map(|path| (path.clone(), std::fs::read(path).unwrap())).collect();
    assert!(files.len() > 10);
    files
}

/// The text put together from the spans and what lies between them, checking that each lies in its place.
fn reemit(file: &SourceFile, body: &Body, out: &mut String) {
    let mut at = body.span.start;
    for item in &body.items {
        let span = item.span();
        assert!(at <= span.start && span.end <= body.span.end);
        out.push_str(&file.text()[at..span.start]);
        assert!(file.slice(span).starts_with(item.name()), "{} at {span:?}", item.name());
        match item {
            Item::Attribute(attribute) => {
                let value = file.slice(&attribute.value);
                assert_eq!(value, value.trim());
                assert_eq!(attribute.value.end, span.end);
                out.push_str(file.slice(span));
            }
            Item::Block(block) => {
                assert_eq!(file.text().as_bytes()[block.body.span.start - 1], b'{');
                assert_eq!(&file.text()[block.body.span.end..span.end], "}");
                out.push_str(&file.text()[span.start..block.body.span.start]);
                reemit(file, &block.body, out);
                out.push('}');
            }
        }
        at = span.end;
    }
    out.push_str(&file.text()[at..body.span.end]);
}

#[test]
fn every_byte_of_hard_files_is_in_its_place() {
    for (name, bytes) in fixtures() {
        let file = SourceFile::parse(path("a.tf"), bytes.clone()).unwrap_or_else(|e| panic!("{}: {e}", name.display()));
        let mut out = String::new();
        reemit(&file, file.body(), &mut out);
        assert_eq!(out.as_bytes(), bytes, "{}", name.display());
    }
}

#[test]
fn the_hard_file_is_understood_whatever_its_line_ends() {
    for name in ["lf.tf", "crlf.tf", "bom.tf", "bom_crlf.tf", "no_final_newline.tf"] {
        let bytes = std::fs::read(Path::new(FIXTURES).join(name)).unwrap();
        let file = SourceFile::parse(path("a.tf"), bytes).unwrap();
        let addrs: Vec<String> = file.body().blocks().map(|block| block.addr().to_string()).collect();
        assert_eq!(addrs, ["terraform", "locals", "var.empty", "aws_iam_policy.p", "output.o"], "{name}");
        let block = file.find(&BlockAddr::resource("aws_iam_policy", "p")).unwrap();
        assert_eq!(file.lines(&block.span), (10, 37), "{name}");
        assert_eq!(file.slice(&block.body.attribute("count").unwrap().value), "var.n > 0 ? 1 : 0");
        let policy = file.slice(&block.body.attribute("policy").unwrap().value);
        assert!(policy.starts_with("<<-POLICY") && policy.ends_with("  POLICY"), "{policy}");
        let nested: Vec<_> = block.body.blocks().map(|b| (b.keyword.as_str(), b.labels.join(" "))).collect();
        assert_eq!(nested, [("dynamic", "ingress".to_owned()), ("nested", "label ident".to_owned())]);
        assert_eq!(file.block_at_line(25).map(Block::addr), Some(block.addr()), "{name}");
        assert_eq!(file.block_at_line(9).map(|b| b.addr().to_string()), Some("var.empty".to_owned()), "{name}");
        assert!(file.block_at_line(7).is_none() && file.block_at_line(9000).is_none());
        let comments: Vec<&str> = file.comments().iter().map(|span| file.slice(span)).collect();
        assert_eq!(comments.len(), 13, "{comments:?}");
        assert_eq!((comments[0], comments[12]), ("# first line", "# behind the brace"));
        let refers: Vec<String> = references(block).iter().map(ToString::to_string).collect();
        let expected = "var.n var.env local.one data.t.n var.l aws_x.y var.k var.m";
        assert_eq!(refers.join(" "), expected, "{name}");
    }
}

#[test]
fn what_does_not_parse_says_where() {
    for (bytes, line, column, message) in [
        (&b"a {\n  b = \n}\n"[..], 2, 7, "expression"),
        (b"\xef\xbb\xbfa = 1\nb = \xc3\xa9 \"", 2, 7, ""),
        (b"a = 1\nb = \"\xff\"\n", 2, 6, "not UTF-8"),
        (b"a {", 1, 4, ""),
    ] {
        let error = SourceFile::parse(path("x/a.tf"), bytes.to_vec()).unwrap_err();
        assert_eq!((error.line, error.column), (line, column), "{error}");
        assert!(error.message.contains(message) && error.to_string().starts_with("x/a.tf:"), "{error}");
    }
}

#[test]
fn no_text_makes_the_parser_panic() {
    let mut state = 11_u64;
    let mut random = move |below: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % below.max(1)
    };
    const PIECES: [&str; 24] = [
        "{", "}", "\"", "${", "%{", "<<E\n", "<<-E\n", "\nE\n", "/*", "*/", "#", "\\", "\r\n", "\n", "=", "[", "(",
        ")", "]", "..", "é", "\u{feff}", "for ", "\0",
    ];
    for (_, bytes) in fixtures() {
        let text = String::from_utf8(bytes).unwrap();
        for _ in 0..300 {
            let mut mutated: Vec<char> = text.chars().collect();
            for _ in 0..=random(3) {
                let (at, end) = (random(mutated.len() + 1), random(12));
                match random(3) {
                    0 => drop(mutated.drain(at..(at + end).min(mutated.len()))),
                    1 => drop(mutated.splice(at..at, PIECES[random(PIECES.len())].chars())),
                    _ => mutated.truncate(mutated.len() - random(mutated.len() / 4)),
                }
            }
            let mutated: String = mutated.into_iter().collect();
            if let Ok(file) = SourceFile::parse(path("a.tf"), mutated.clone().into_bytes()) {
                let mut out = String::new();
                reemit(&file, file.body(), &mut out);
                assert_eq!(out, mutated);
                file.body().blocks().for_each(|block| drop(references(block)));
            }
            lex::lex(&mutated);
        }
    }
    for deep in ["[", "{a=", "(", "f(", "\"${", "a {\n", "-", "!"] {
        assert!(SourceFile::parse(path("a.tf"), format!("a = {}", deep.repeat(5000)).into_bytes()).is_err());
    }
}

#[test]
fn references_know_what_is_declared_around_them() {
    let text = r#"
        resource "a" "b" {
          provider = aws.west
          x        = [for aws, v in aws.list : "${aws.k}-${v.k}-${w.k}"]
          y        = { for k in var.m : k.id => each.value.z + count.index + self.q + path.module }
          z        = <<E
%{ for t in local.ts }${t.x}${u.x}%{ endfor }
E
          v        = module.m[0].out + data.d.n[*].id + var.a.b + aws_s3_bucket.x["k"].arn
          dynamic "setting" {
            for_each = local.settings
            content { value = setting.value.x }
          }
          dynamic "other" {
            for_each = it.not_yet
            iterator = it
            content { value = it.value.x + other.value.x }
          }
          lifecycle { ignore_changes = [tags.x] }
          depends_on = [aws_iam_role.r]
        }
        "#;
    let file = SourceFile::parse(path("main.tf"), text.as_bytes().to_vec()).unwrap();
    let found = references(file.find(&BlockAddr::resource("a", "b")).unwrap());
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    let expected = "aws.list w.k var.m local.ts u.x module.m data.d.n var.a aws_s3_bucket.x local.settings it.not_yet \
                    other.value aws_iam_role.r";
    assert_eq!(found.join(" "), expected);
}
