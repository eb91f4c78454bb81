//! Key and path templates: `user:{id}:v{version}`.
//!
//! `{column}`, `{before.column}`, `{after.column}`, filters after `|`, `{{` and
//! `}}` for braces, `\x01` for a byte, `\\` for a backslash.

use super::filter::Filter;

/// The row image that a placeholder reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowImage {
    /// The image that the template is rendered from.
    Either,
    /// The row before the change.
    Before,
    /// The row after the change.
    After,
}

/// A column in a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Placeholder {
    pub image: RowImage,
    pub column: String,
    /// Applied from left to right.
    pub filters: Vec<Filter>,
}

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TemplatePart {
    /// Bytes as they are.
    Literal(Vec<u8>),
    /// A column's value.
    Placeholder(Placeholder),
}

/// A parsed template, not yet bound to a table's columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// As it stands in the configuration.
    pub text: String,
    /// The line where it stands, for errors.
    pub line: usize,
    pub parts: Vec<TemplatePart>,
}

impl Template {
    /// Parses `text`, which stands in line `line` of the configuration.
    pub fn parse(text: &str, line: usize) -> Result<Self, String> {
        let mut parser = Parser {
            rest: text,
            literal: Vec::new(),
            parts: Vec::new(),
        };
        parser
            .run()
            .map_err(|reason| format!("template \"{text}\": {reason}"))?;
        Ok(Self {
            text: text.to_owned(),
            line,
            parts: parser.parts,
        })
    }

    /// Checks that it renders paths: its literals begin with `/`, and hold a `*`
    /// only as the very last byte.
    pub fn check_path(&self) -> Result<(), String> {
        let last = self.parts.len().saturating_sub(1);
        for (index, part) in self.parts.iter().enumerate() {
            let TemplatePart::Literal(bytes) = part else {
                continue;
            };
            if index == 0 && !bytes.starts_with(b"/") {
                return Err(format!("path \"{}\" must begin with `/`", self.text));
            }
            let star = bytes.iter().position(|byte| *byte == b'*');
            if star.is_some_and(|at| index != last || at + 1 != bytes.len()) {
                return Err(format!(
                    "path \"{}\": CloudFront takes a `*` only as the last character",
                    self.text
                ));
            }
        }
        match self.parts.first() {
            Some(TemplatePart::Placeholder(_)) => {
                Err(format!("path \"{}\" must begin with `/`", self.text))
            }
            _ => Ok(()),
        }
    }

    /// Its placeholders, in their order.
    pub fn placeholders(&self) -> impl Iterator<Item = &Placeholder> {
        self.parts.iter().filter_map(|part| match part {
            TemplatePart::Placeholder(placeholder) => Some(placeholder),
            TemplatePart::Literal(_) => None,
        })
    }
}

struct Parser<'t> {
    rest: &'t str,
    literal: Vec<u8>,
    parts: Vec<TemplatePart>,
}

impl<'t> Parser<'t> {
    fn run(&mut self) -> Result<(), String> {
        while let Some(c) = self.rest.chars().next() {
            let doubled = self.rest.starts_with("{{") || self.rest.starts_with("}}");
            match c {
                '{' | '}' if doubled => {
                    self.literal.extend(c.to_string().bytes());
                    self.skip(2);
                }
                '{' => {
                    self.skip(1);
                    self.end_literal();
                    let placeholder = self.placeholder()?;
                    self.parts.push(TemplatePart::Placeholder(placeholder));
                }
                '}' => return Err("a `}` closes nothing; write `}}` for a brace".to_owned()),
                '\\' => self.escape()?,
                _ => {
                    self.literal.extend(c.to_string().bytes());
                    self.skip(c.len_utf8());
                }
            }
        }
        self.end_literal();
        if self.parts.is_empty() {
            return Err("it is empty".to_owned());
        }
        Ok(())
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn end_literal(&mut self) {
        if !self.literal.is_empty() {
            self.parts
                .push(TemplatePart::Literal(std::mem::take(&mut self.literal)));
        }
    }

    fn escape(&mut self) -> Result<(), String> {
        if self.rest.starts_with("\\\\") {
            self.literal.push(b'\\');
            self.skip(2);
            return Ok(());
        }
        let byte = self
            .rest
            .strip_prefix("\\x")
            .and_then(|rest| rest.get(..2))
            .and_then(|digits| u8::from_str_radix(digits, 16).ok())
            .ok_or(
                "after a backslash stands `x` and two hexadecimal digits, or another backslash",
            )?;
        self.literal.push(byte);
        self.skip(4);
        Ok(())
    }

    /// Reads a placeholder, its closing brace included.
    fn placeholder(&mut self) -> Result<Placeholder, String> {
        let end = self
            .rest
            .find(['|', '}'])
            .ok_or("a `{` is not closed; write `{{` for a brace")?;
        let name = self.rest.get(..end).unwrap_or_default().trim();
        self.skip(end);
        let (image, column) = match name.split_once('.') {
            Some(("before", column)) => (RowImage::Before, column),
            Some(("after", column)) => (RowImage::After, column),
            Some((other, _)) => {
                return Err(format!(
                    "`{other}.` is not a row image; write `before.` or `after.`"
                ));
            }
            None => (RowImage::Either, name),
        };
        if column.is_empty() {
            return Err("a placeholder names no column".to_owned());
        }
        let mut filters = Vec::new();
        while self.rest.starts_with('|') {
            self.skip(1);
            filters.push(self.filter()?);
        }
        if !self.rest.starts_with('}') {
            return Err(format!("the placeholder of `{column}` is not closed"));
        }
        self.skip(1);
        Ok(Placeholder {
            image,
            column: column.to_owned(),
            filters,
        })
    }

    /// Reads `name`, `name("argument")` or `name("argument", "argument")`.
    fn filter(&mut self) -> Result<Filter, String> {
        let end = self
            .rest
            .find(['|', '}', '('])
            .ok_or("a `{` is not closed; write `{{` for a brace")?;
        let name = self.rest.get(..end).unwrap_or_default().trim();
        self.skip(end);
        let mut arguments = Vec::new();
        if self.rest.starts_with('(') {
            self.skip(1);
            while !self.rest.starts_with(')') {
                arguments.push(self.argument(name)?);
            }
            self.skip(1);
            self.rest = self.rest.trim_start();
        }
        Filter::new(name, &arguments)
    }

    /// Reads `"argument"`, and the comma if another one follows.
    fn argument(&mut self, filter: &str) -> Result<&'t str, String> {
        let not_closed = || format!("the argument of `{filter}` is not closed");
        let quoted = self
            .rest
            .strip_prefix('"')
            .ok_or_else(|| format!("the argument of `{filter}` needs double quotes"))?;
        let (text, rest) = quoted.split_once('"').ok_or_else(not_closed)?;
        let rest = rest.trim_start();
        self.rest = match rest.strip_prefix(',') {
            Some(rest) => rest.trim_start(),
            None if rest.starts_with(')') => rest,
            None => return Err(not_closed()),
        };
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn templates_parse_into_literals_and_placeholders() {
        let template =
            Template::parse(r#"a\x01{{x}}:{ id }:{after.slug|lower|date("%Y}")}\\é"#, 7).unwrap();
        let placeholder = |image, column: &str, filters| {
            TemplatePart::Placeholder(Placeholder {
                image,
                column: column.into(),
                filters,
            })
        };
        assert_eq!(
            template.parts,
            [
                TemplatePart::Literal(b"a\x01{x}:".to_vec()),
                placeholder(RowImage::Either, "id", vec![]),
                TemplatePart::Literal(b":".to_vec()),
                placeholder(
                    RowImage::After,
                    "slug",
                    vec![Filter::Lower, Filter::new("date", &["%Y}"]).unwrap()]
                ),
                TemplatePart::Literal("\\é".as_bytes().to_vec()),
            ]
        );
    }

    #[test]
    fn what_does_not_parse_says_why() {
        let cases = [
            ("", "it is empty"),
            ("user:{id", "not closed"),
            ("user:id}", "closes nothing"),
            ("{}", "names no column"),
            ("{old.id}", "not a row image"),
            ("{id|}", "no filter"),
            ("{id|nope}", "no filter `nope`"),
            ("{id|date(x)}", "double quotes"),
            ("{id|date(\"%Y\", UTC)}", "double quotes"),
            ("{id|date(\"%Y\" \"UTC\")}", "not closed"),
            ("{id|date(\"%Y", "not closed"),
            ("{id|date()}", "needs a format"),
            (r"\q", "after a backslash"),
            (r"\x0", "after a backslash"),
        ];
        for (text, reason) in cases {
            let error = Template::parse(text, 1).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_the_parser_panic(text in "[{}|.()\"\\\\a-zé ]{0,40}") {
            Template::parse(&text, 1).ok();
        }
    }
}
