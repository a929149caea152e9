//! Manifests, as far as the direction of imports needs them: members, and what a crate depends on.
//!
//! Read line by line, in the two forms that this workspace uses: `name.workspace = true` in a table
//! of dependencies, and a table of its own for one dependency. The limit: a value that goes over
//! several lines is not understood, except for the list of members.

/// A dependency as a manifest names it.
pub(crate) struct Import {
    pub(crate) name: String,
    pub(crate) for_tests: bool,
    /// Its version stands in the root manifest.
    pub(crate) from_table: bool,
}

pub(crate) fn imports(manifest: &str) -> Vec<Import> {
    let mut found: Vec<Import> = Vec::new();
    let (mut inside, mut own_table, mut for_tests) = (false, false, false);
    for line in manifest.lines().map(str::trim) {
        if let Some(header) = line.strip_prefix('[') {
            let header = header.trim_end_matches(']');
            inside = header.contains("dependencies");
            own_table = header.contains("dependencies.");
            for_tests = header.contains("dev-dependencies");
            if let Some((_, name)) = header.split_once("dependencies.") {
                let name = name.to_owned();
                found.push(Import {
                    name,
                    for_tests,
                    from_table: false,
                });
            }
        } else if inside && line.contains('=') && !line.starts_with('#') {
            let from_table = line.contains("workspace = true");
            match found.last_mut().filter(|_| own_table) {
                Some(import) => import.from_table |= from_table,
                None => {
                    let end = line.find(['.', ' ', '=']).unwrap_or(line.len());
                    let name = line[..end].to_owned();
                    found.push(Import {
                        name,
                        for_tests,
                        from_table,
                    });
                }
            }
        }
    }
    found
}

pub(crate) fn members(manifest: &str) -> Vec<String> {
    let list = manifest.split_once("\nmembers = [").map(|(_, rest)| rest);
    let list = list.and_then(|rest| rest.split_once(']'));
    let names = list.map_or("", |(list, _)| list).split('"').skip(1);
    names.step_by(2).map(str::to_owned).collect()
}
