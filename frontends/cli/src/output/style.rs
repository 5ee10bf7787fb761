pub(crate) use anstyle::Style;

/// What colours mean, in one place.
pub(crate) mod styles {
    use super::Style;
    use anstyle::AnsiColor;

    pub(crate) const PLAIN: Style = Style::new();
    pub(crate) const HEADER: Style = Style::new().bold();
    pub(crate) const DIM: Style = Style::new().dimmed();
    pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
    pub(crate) const ACTIVE: Style = AnsiColor::Cyan.on_default();
    pub(crate) const HINT: Style = AnsiColor::Cyan.on_default().bold();
    pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
    pub(crate) const FAILURE: Style = AnsiColor::Red.on_default().bold();
}
