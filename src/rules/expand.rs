//! `expand`: placeholders of a rule that stand for a list of texts instead of a
//! column, such as the languages that every page exists in.

use std::collections::BTreeMap;

use super::template::{RowImage, Template, TemplatePart};

/// Most variants of a template. Each is an invalidation for every change of a
/// row.
pub const VARIANTS_MAX: usize = 100;

/// The variables by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Expand {
    variables: BTreeMap<String, Vec<String>>,
    /// The line in the configuration, for errors.
    pub line: usize,
}

impl Expand {
    /// Takes the variables that stand in `line` of the configuration.
    ///
    /// # Errors
    ///
    /// A name that no placeholder can have, and a list that is empty, too long,
    /// or has a text twice.
    pub fn new(variables: BTreeMap<String, Vec<String>>, line: usize) -> Result<Self, String> {
        for (name, texts) in &variables {
            let allowed = |c: char| c.is_ascii_alphanumeric() || c == '_';
            if name.is_empty() || !name.chars().all(allowed) {
                return Err(format!(
                    "expand: a variable is called \"{name}\": use letters, digits and `_`"
                ));
            }
            if texts.is_empty() {
                return Err(format!("expand: `{name}` has no text"));
            }
            if texts.len() > VARIANTS_MAX {
                return Err(too_many(&format!("`{name}`")));
            }
            for (index, text) in texts.iter().enumerate() {
                if texts.iter().take(index).any(|before| before == text) {
                    return Err(format!("expand: `{name}` has \"{text}\" twice"));
                }
            }
        }
        Ok(Self { variables, line })
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.variables.keys().map(String::as_str)
    }

    /// Whether `template` has a placeholder of this variable.
    pub fn reads(template: &Template, name: &str) -> bool {
        template
            .placeholders()
            .any(|placeholder| placeholder.image == RowImage::Either && placeholder.column == name)
    }

    /// The template, once for every combination of texts of the variables that
    /// it contains, in the order of the texts.
    ///
    /// # Errors
    ///
    /// More than [`VARIANTS_MAX`] variants, or a variable with a filter.
    pub fn variants(&self, template: &Template) -> Result<Vec<Template>, String> {
        let used = self
            .variables
            .iter()
            .filter(|(name, _)| Self::reads(template, name));
        let mut chosen: Vec<BTreeMap<&str, &str>> = vec![BTreeMap::new()];
        for (name, texts) in used {
            if chosen.len() * texts.len() > VARIANTS_MAX {
                return Err(too_many(&format!("template \"{}\"", template.text)));
            }
            let mut longer = Vec::with_capacity(chosen.len() * texts.len());
            for known in &chosen {
                for text in texts {
                    let mut known = known.clone();
                    known.insert(name, text);
                    longer.push(known);
                }
            }
            chosen = longer;
        }
        chosen
            .iter()
            .map(|texts| variant(template, texts))
            .collect()
    }
}

fn too_many(what: &str) -> String {
    format!("expand: {what} has more than {VARIANTS_MAX} variants, each of which is paid for")
}

fn variant(template: &Template, texts: &BTreeMap<&str, &str>) -> Result<Template, String> {
    let mut parts: Vec<TemplatePart> = Vec::with_capacity(template.parts.len());
    for part in &template.parts {
        let text = match part {
            TemplatePart::Literal(bytes) => bytes.as_slice(),
            TemplatePart::Placeholder(placeholder) => {
                match texts.get(placeholder.column.as_str()) {
                    Some(text) if placeholder.image == RowImage::Either => {
                        if !placeholder.filters.is_empty() {
                            return Err(format!(
                                "template \"{}\": `{}` is a variable of `expand` and takes no filter: \
                             write its texts as they are to stand",
                                template.text, placeholder.column
                            ));
                        }
                        text.as_bytes()
                    }
                    _ => {
                        parts.push(part.clone());
                        continue;
                    }
                }
            }
        };
        match parts.last_mut() {
            Some(TemplatePart::Literal(before)) => before.extend_from_slice(text),
            _ if text.is_empty() => {}
            _ => parts.push(TemplatePart::Literal(text.to_vec())),
        }
    }
    if parts.is_empty() {
        return Err(format!(
            "template \"{}\" has an empty variant",
            template.text
        ));
    }
    Ok(Template {
        text: template.text.clone(),
        line: template.line,
        parts,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn expand(variables: &[(&str, &[&str])]) -> Result<Expand, String> {
        let variables = variables.iter().map(|(name, texts)| {
            let texts = texts.iter().map(|text| (*text).to_owned());
            ((*name).to_owned(), texts.collect())
        });
        Expand::new(variables.collect(), 3)
    }

    /// The variants as templates would be written.
    fn variants(expand: &Expand, text: &str) -> Result<Vec<String>, String> {
        let template = Template::parse(text, 1).unwrap();
        let written = |template: &Template| {
            let parts = template.parts.iter().map(|part| match part {
                TemplatePart::Literal(bytes) => String::from_utf8(bytes.clone()).unwrap(),
                TemplatePart::Placeholder(placeholder) => format!("{{{}}}", placeholder.column),
            });
            parts.collect::<String>()
        };
        Ok(expand.variants(&template)?.iter().map(written).collect())
    }

    #[test]
    fn every_combination_of_the_variables_in_a_template_is_a_variant() {
        let expand = expand(&[("locale", &["en", "de"]), ("slash", &["", "/"])]).unwrap();
        for (text, expected) in [
            ("/about", vec!["/about"]),
            ("/{slug}", vec!["/{slug}"]),
            ("/{locale}", vec!["/en", "/de"]),
            (
                "/{locale}/{slug}{slash}",
                vec!["/en/{slug}", "/en/{slug}/", "/de/{slug}", "/de/{slug}/"],
            ),
            ("{locale}-{locale}", vec!["en-en", "de-de"]),
            ("/{before.locale}", vec!["/{locale}"]),
        ] {
            assert_eq!(variants(&expand, text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for (variables, reason) in [
            (&[("a-b", &["x"][..])][..], "letters, digits"),
            (&[("", &["x"])], "letters, digits"),
            (&[("a", &[])], "no text"),
            (&[("a", &["x", "y", "x"])], "\"x\" twice"),
        ] {
            let error = expand(variables).unwrap_err();
            assert!(error.contains(reason), "{error}");
        }
        let many: Vec<String> = (0..11).map(|n| n.to_string()).collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let expand = expand(&[("a", &many), ("b", &many), ("c", &[""])]).unwrap();
        for (text, reason) in [
            ("/{a}/{b}", "more than 100 variants"),
            ("/{a|upper}", "no filter"),
            ("{c}", "empty variant"),
        ] {
            let error = variants(&expand, text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
        assert_eq!(variants(&expand, "/{a}").unwrap().len(), 11);
    }
}
