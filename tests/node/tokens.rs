//! A token file with a token of all users and one that is bound to a user.

use http::tokens::{Right, Token};
use testkit::process::temp_dir;

/// Both tokens, as a client finds them in its environment.
pub struct TokenFile {
    /// Its path.
    pub path: String,
    /// `TOKEN` is bound to no users, `TOKEN_OF_ANN` to u-ann.
    pub variables: [(&'static str, String); 2],
}

impl TokenFile {
    /// Makes the tokens, with all rights of a node's interface, and writes the file.
    pub fn make() -> TokenFile {
        let rights = [Right::Read, Right::Act];
        let (token, line) = Token::make("agents", &rights, None).unwrap();
        let (token_of_ann, line_of_ann) = Token::make("ann", &rights, Some(&["u-ann".to_owned()])).unwrap();
        let path = temp_dir("tokens").join("tokens");
        std::fs::write(&path, format!("{}\n{}\n", line.line(), line_of_ann.line())).unwrap();
        let variables = [("TOKEN", token.to_string()), ("TOKEN_OF_ANN", token_of_ann.to_string())];
        TokenFile { path: path.display().to_string(), variables }
    }
}
