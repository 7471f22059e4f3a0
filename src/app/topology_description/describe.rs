//! A topology in each of the formats of `helixstream topology describe`.

use super::{TopologyDescription, dot, mermaid, text};
use crate::app::CommandError;
use crate::edges::cli::DescribeFormat;
use topology_file::Topology as File;

/// The description of a checked file, as `helixstream topology describe` prints it.
///
/// # Errors
/// As for [`TopologyDescription::of`].
pub fn describe(file: &File, format: DescribeFormat) -> Result<String, CommandError> {
    let description = TopologyDescription::of(file)?;
    Ok(match format {
        DescribeFormat::Text => text::describe(&description),
        DescribeFormat::Mermaid => mermaid::draw(&description),
        DescribeFormat::Dot => dot::draw(&description),
        DescribeFormat::Json => serde_json::to_string_pretty(&description)? + "\n",
    })
}
