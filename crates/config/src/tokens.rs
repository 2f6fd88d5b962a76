//! The file of static tokens.

use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::ConfigError;
use longshore_domain::access::{TOKEN_PREFIX, TokenDigest, TokenEntry, TokenTable};

/// The file as typed.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TokenFile {
    /// The tokens.
    #[serde(default)]
    pub tokens: Vec<StaticToken>,
}

/// One token.
#[derive(Clone, Debug, Deserialize, Serialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub struct StaticToken {
    /// User name.
    pub user: String,
    /// Groups.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<String>,
    /// SHA-256 of the token, in hex.
    pub sha256: String,
    /// From when on it is not taken any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expire_time: Option<Timestamp>,
}

impl TokenFile {
    /// Reads the file.
    ///
    /// # Errors
    /// A file that can't be read, that others can write, that is not TOML, or has something that is
    /// not a token.
    pub fn read(path: &Path) -> Result<TokenTable, ConfigError> {
        let unreadable = |cause| ConfigError::Read { path: path.to_owned(), cause };
        let unusable = |message| ConfigError::Tokens { path: path.to_owned(), message };
        let mut file = File::open(path).map_err(unreadable)?;
        let metadata = file.metadata().map_err(unreadable)?;
        check_writers(path, &metadata).map_err(unusable)?;
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(unreadable)?;
        Self::parse(&text).map_err(unusable)
    }

    /// Reads the file's text.
    ///
    /// # Errors
    /// Where and why it is none, without a word of it.
    pub fn parse(text: &str) -> Result<TokenTable, String> {
        let file: Self = toml::from_str(text).map_err(|error| {
            // Without any word of it: somebody may have typed a token there.
            let line = error.span().map_or(1, |span| 1 + text.get(..span.start).unwrap_or(text).matches('\n').count());
            format!("line {line}: expected [[tokens]] with user, groups, sha256 and expire_time")
        })?;
        let mut entries = Vec::new();
        for (index, StaticToken { user, groups, sha256, expire_time }) in file.tokens.into_iter().enumerate() {
            let digest = TokenDigest::parse(&sha256)
                .ok_or_else(|| format!("tokens[{index}].sha256: is not a SHA-256 in hex (64 digits)"))?;
            if user.is_empty() {
                return Err(format!("tokens[{index}].user: is empty"));
            }
            entries.push(TokenEntry { digest, user, groups, expire_time });
        }
        Ok(TokenTable::new(entries))
    }
}

/// Anyone who can write the file can make tokens for themselves, and so can who can put another in
/// its place. Where a link leads decides, as Kubernetes mounts files by links.
fn check_writers(path: &Path, file: &Metadata) -> Result<(), String> {
    let others = |metadata: &Metadata| metadata.mode() & 0o022 != 0;
    if others(file) {
        return Err("its group or others can write it, and so make tokens; chmod go-w it".to_owned());
    }
    let dir = std::fs::canonicalize(path).ok().and_then(|path| path.parent().map(Path::to_owned));
    let Some((dir, metadata)) = dir.and_then(|dir| std::fs::metadata(&dir).ok().map(|metadata| (dir, metadata))) else {
        return Ok(());
    };
    // In a sticky directory (`/tmp`) nobody replaces the files of others.
    if others(&metadata) && metadata.mode() & 0o1000 == 0 {
        let dir = dir.display();
        return Err(format!("group or others of its directory {dir} can put another in its place; chmod go-w that"));
    }
    Ok(())
}

impl StaticToken {
    /// A new token of 256 random bits, and what is kept of it.
    ///
    /// # Errors
    /// A machine that gives no random numbers.
    pub fn generate(
        user: String,
        groups: Vec<String>,
        expire_time: Option<Timestamp>,
    ) -> Result<(String, Self), getrandom::Error> {
        let mut bytes = [0; 32];
        getrandom::fill(&mut bytes)?;
        let token = format!("{TOKEN_PREFIX}{}", data_encoding::BASE64URL_NOPAD.encode(&bytes));
        let sha256 = TokenDigest::of(&token).to_hex();
        Ok((token, Self { user, groups, sha256, expire_time }))
    }

    /// As it stands in the file.
    ///
    /// # Errors
    /// Never in practice: every part of it has a form in TOML.
    pub fn to_toml(&self) -> Result<String, toml::ser::Error> {
        toml::to_string(&TokenFile { tokens: vec![self.clone()] })
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let section = StaticToken {
            user: "ci \"x\"\n".to_owned(),
            groups: vec!["builders".to_owned()],
            sha256: TokenDigest::of("secret").to_hex(),
            expire_time: Some("2030-01-01T00:00:00Z".parse().unwrap()),
        };
        let text = format!("# kept\n{}\n{}", section.to_toml().unwrap(), section.to_toml().unwrap());
        let table = TokenFile::parse(&text).unwrap();
        assert_eq!(table.len(), 2);
        let identity = table.identify(TokenDigest::of("secret"), "2029-01-01T00:00:00Z".parse().unwrap()).unwrap();
        assert_eq!((identity.user.as_str(), identity.groups.as_slice()), ("ci \"x\"\n", &["builders".to_owned()][..]));
    }

    #[test]
    fn a_file_that_others_can_write_is_refused() {
        let chmod = |path: &Path, mode| std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("tokens.toml"), dir.path().join("link"));
        std::fs::write(&file, "").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for (file_mode, dir_mode, refused) in [
            (0o600, 0o700, None),
            (0o644, 0o755, None),
            (0o644, 0o1777, None),
            (0o660, 0o700, Some("chmod go-w it")),
            (0o602, 0o700, Some("chmod go-w it")),
            (0o600, 0o777, Some("chmod go-w that")),
            (0o600, 0o770, Some("chmod go-w that")),
        ] {
            chmod(&file, file_mode);
            chmod(dir.path(), dir_mode);
            for path in [&file, &link] {
                let refusal = TokenFile::read(path).err().map(|error| error.to_string());
                assert_eq!(refusal.is_some(), refused.is_some(), "{file_mode:o} {dir_mode:o}: {refusal:?}");
                assert!(refusal.unwrap_or_default().ends_with(refused.unwrap_or_default()));
            }
        }
    }

    #[test]
    fn what_is_no_token_is_reported_by_its_place() {
        assert!(TokenFile::parse("").unwrap().is_empty());
        let refused = |text: &str| TokenFile::parse(text).unwrap_err();
        assert!(refused("[[tokens]]\nuser = \"a\"\nsha256 = \"12\"").contains("tokens[0].sha256"));
        assert!(refused("[[tokens]]\nuser = \"a\"\ntoken = \"12\"").starts_with("line 3: "));
        for text in
            ["sha256 = \"longshore_secret\"", "expire_time = \"longshore_secret\"", "groups = \"longshore_secret\""]
        {
            let text = format!("[[tokens]]\nuser = \"a\"\n{text}");
            assert!(!refused(&text).contains("secret"), "a token typed in the wrong place is not shown");
        }
    }
}
