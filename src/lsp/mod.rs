//! A language server: what an editor asks about a spec while it is typed.
//!
//! [`serve_stdio`] speaks the Language Server Protocol over standard input and output. It reports problems after
//! every edit and offers their mends (`actions`), explains the word under the pointer (`hover`), says what may be typed
//! (`complete`), finds where a name is given (`names`) and used, renames it (`rename`), shows sizes that the text
//! decides (`hints`), lists the names of a file and lays it out.
//!
//! Diagnostics, their mends and figures come from the checker. Renaming goes by the syntax tree (`uses`). Everything
//! else goes by words and braces (`place`), since a text that is being typed seldom has a syntax tree, and by two
//! tables that belong to the language: its keys, and the rows of its reference (`reference`). The server holds no state
//! but the open texts, and reads no file but the bases of specs, which it prefers to take from the open texts as well.

mod actions;
mod address;
mod complete;
mod document;
mod family;
mod hints;
mod hover;
mod names;
mod place;
mod position;
mod reference;
mod rename;
mod uses;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use lsp_server::{Connection, ErrorCode, Message, Notification, ProtocolError, Request, Response};
use lsp_types::notification::{
    DidChangeTextDocument, DidCloseTextDocument, DidOpenTextDocument, Notification as _, PublishDiagnostics,
};
use lsp_types::request::{
    CodeActionRequest, Completion, DocumentSymbolRequest, Formatting, GotoDefinition, HoverRequest,
    InlayHintRequest, PrepareRenameRequest, References, Rename, Request as _,
};
use lsp_types::{
    CodeAction, CodeActionKind, CodeActionOptions, CodeActionParams, CodeActionProviderCapability,
    CompletionOptions, CompletionParams, CompletionResponse, DiagnosticRelatedInformation,
    DiagnosticSeverity, DidChangeTextDocumentParams, DidCloseTextDocumentParams, DidOpenTextDocumentParams,
    DocumentFormattingParams, DocumentSymbol, DocumentSymbolParams, DocumentSymbolResponse,
    GotoDefinitionParams, GotoDefinitionResponse, Hover, HoverContents, HoverParams, HoverProviderCapability,
    InlayHint, InlayHintKind, InlayHintLabel, InlayHintParams, Location, MarkupContent, MarkupKind,
    NumberOrString, OneOf, Position, PrepareRenameResponse, PublishDiagnosticsParams, Range, ReferenceParams,
    RenameOptions, RenameParams, ServerCapabilities, SymbolKind, TextDocumentPositionParams,
    TextDocumentSyncCapability, TextDocumentSyncKind, TextEdit, Uri, WorkDoneProgressOptions, WorkspaceEdit,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::diagnostic::{Diagnostic, Severity};
use crate::span::{Source, Span};
use crate::syntax::{self, tokens};
use document::{Document, Spot};
use family::Documents;
use names::Thing;
use position::Lines;

/// Why the server ends early.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// What was read is no message of the protocol, or the output is closed.
    #[error("cannot speak the language server protocol: {0}; `hrmc lsp` is started by an editor")]
    Transport(#[from] io::Error),
    /// The messages came in an order that the protocol does not allow.
    #[error(
        "the editor does not keep to the language server protocol: {0}; `hrmc lsp` is started by an editor"
    )]
    Protocol(#[from] ProtocolError),
    /// The input ended before the editor asked the server to shut down.
    #[error("the editor went away without shutting the server down")]
    Disconnected,
}

/// Serves the editor at standard input and output until it shuts the server down.
///
/// # Errors
///
/// Returns an error if the editor goes away, or does not keep to the protocol.
pub fn serve_stdio() -> Result<(), ServeError> {
    let (connection, threads) = Connection::stdio();
    let served = serve(&connection);
    // The threads end with the connection.
    drop(connection);
    match served {
        Ok(()) => Ok(threads.join()?),
        // What the threads say is the cause where there is one.
        Err(ServeError::Disconnected) => {
            threads.join().map_err(ServeError::from).and(Err(ServeError::Disconnected))
        }
        Err(ServeError::Protocol(error)) if error.channel_is_disconnected() => {
            threads.join().map_err(ServeError::from).and(Err(ServeError::Disconnected))
        }
        Err(error) => Err(error),
    }
}

/// Serves one editor until it shuts the server down.
///
/// # Errors
///
/// Returns an error if the editor goes away, or does not keep to the protocol.
pub fn serve(connection: &Connection) -> Result<(), ServeError> {
    let (id, _) = connection.initialize_start()?;
    let answer = json!({
        "capabilities": capabilities(),
        "serverInfo": { "name": "hrmc", "version": env!("CARGO_PKG_VERSION") },
    });
    connection.initialize_finish(id, answer)?;
    let mut server = Server { connection, documents: BTreeMap::new() };
    for message in &connection.receiver {
        match message {
            Message::Request(request) => {
                if connection.handle_shutdown(&request)? {
                    return Ok(());
                }
                let response = server.answer(request);
                server.send(response.into())?;
            }
            Message::Notification(notification) => server.notice(notification)?,
            // The server asks nothing.
            Message::Response(_) => {}
        }
    }
    Err(ServeError::Disconnected)
}

fn capabilities() -> ServerCapabilities {
    ServerCapabilities {
        text_document_sync: Some(TextDocumentSyncCapability::Kind(TextDocumentSyncKind::FULL)),
        hover_provider: Some(HoverProviderCapability::Simple(true)),
        completion_provider: Some(CompletionOptions {
            trigger_characters: Some(["=", "("].map(str::to_string).to_vec()),
            ..CompletionOptions::default()
        }),
        definition_provider: Some(OneOf::Left(true)),
        document_symbol_provider: Some(OneOf::Left(true)),
        document_formatting_provider: Some(OneOf::Left(true)),
        code_action_provider: Some(CodeActionProviderCapability::Options(CodeActionOptions {
            code_action_kinds: Some(vec![CodeActionKind::QUICKFIX]),
            ..CodeActionOptions::default()
        })),
        references_provider: Some(OneOf::Left(true)),
        rename_provider: Some(OneOf::Right(RenameOptions {
            prepare_provider: Some(true),
            work_done_progress_options: WorkDoneProgressOptions::default(),
        })),
        inlay_hint_provider: Some(OneOf::Left(true)),
        ..ServerCapabilities::default()
    }
}

/// The open texts of one editor.
struct Server<'a> {
    connection: &'a Connection,
    documents: Documents,
}

/// Why nothing is known about a text.
const NOT_OPEN: &str = "the text is not open";

/// An answer, or what is wrong with the question.
type Reply = Result<serde_json::Value, (ErrorCode, String)>;

impl Server<'_> {
    fn send(&self, message: Message) -> Result<(), ServeError> {
        self.connection.sender.send(message).map_err(|_| ServeError::Disconnected)
    }

    /// Returns the answer to a request.
    fn answer(&self, request: Request) -> Response {
        let Request { id, method, params } = request;
        let answer = match method.as_str() {
            HoverRequest::METHOD => asked(params, |params| self.hover(&params)),
            Completion::METHOD => asked(params, |params| self.complete(&params)),
            GotoDefinition::METHOD => asked(params, |params| self.definition(&params)),
            DocumentSymbolRequest::METHOD => asked(params, |params| self.symbols(&params)),
            Formatting::METHOD => asked(params, |params| self.format(&params)),
            CodeActionRequest::METHOD => asked(params, |params| self.actions(&params)),
            References::METHOD => asked(params, |params| self.references(&params)),
            PrepareRenameRequest::METHOD => asked_for(params, |params| self.prepare_rename(&params)),
            Rename::METHOD => asked_for(params, |params| self.rename(&params)),
            InlayHintRequest::METHOD => asked(params, |params| self.hints(&params)),
            other => Err((ErrorCode::MethodNotFound, format!("hrmc does not answer `{other}`"))),
        };
        match answer {
            Ok(value) => Response::new_ok(id, value),
            Err((code, message)) => Response::new_err(id, code as i32, message),
        }
    }

    /// Takes note of what the editor does. What cannot be read is left out: nobody waits for an answer.
    fn notice(&mut self, notification: Notification) -> Result<(), ServeError> {
        let Notification { method, params } = notification;
        match method.as_str() {
            DidOpenTextDocument::METHOD => {
                if let Ok(params) = serde_json::from_value::<DidOpenTextDocumentParams>(params) {
                    let document = params.text_document;
                    self.replace(document.uri, document.text, document.version)?;
                }
            }
            DidChangeTextDocument::METHOD => {
                if let Ok(params) = serde_json::from_value::<DidChangeTextDocumentParams>(params) {
                    // The server asks for the whole text with every edit, so the last one counts.
                    if let Some(change) = params.content_changes.into_iter().next_back() {
                        let document = params.text_document;
                        self.replace(document.uri, change.text, document.version)?;
                    }
                }
            }
            DidCloseTextDocument::METHOD => {
                if let Ok(params) = serde_json::from_value::<DidCloseTextDocumentParams>(params) {
                    let uri = params.text_document.uri;
                    self.documents.remove(uri.as_str());
                    self.publish(uri, Vec::new(), None)?;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Reads the new text of a document and reports what is wrong with it.
    fn replace(&mut self, uri: Uri, text: String, version: i32) -> Result<(), ServeError> {
        self.check(&uri, text, Some(version))?;
        // The text may be the base of others.
        let over: Vec<String> = self
            .documents
            .iter()
            .filter(|(other, document)| other.as_str() != uri.as_str() && document.base.is_some())
            .map(|(other, _)| other.clone())
            .collect();
        for other in over {
            let text = self.documents[&other].source.text.clone();
            if let Ok(other) = other.parse() {
                self.check(&other, text, None)?;
            }
        }
        Ok(())
    }

    fn check(&mut self, uri: &Uri, text: String, version: Option<i32>) -> Result<(), ServeError> {
        let before = self.documents.remove(uri.as_str());
        let read = |path: &Path| family::read(&self.documents, path);
        let document = Document::new(&address::path(uri.as_str()), text, before, &read);
        let found = document
            .faults
            .iter()
            .flat_map(|(text, found)| found.iter().map(|one| to_protocol(&document, uri, text, one)))
            .collect();
        self.documents.insert(uri.as_str().to_string(), document);
        self.publish(uri.clone(), found, version)
    }

    fn publish(
        &self,
        uri: Uri,
        diagnostics: Vec<lsp_types::Diagnostic>,
        version: Option<i32>,
    ) -> Result<(), ServeError> {
        let params = PublishDiagnosticsParams { uri, diagnostics, version };
        self.send(Notification::new(PublishDiagnostics::METHOD.to_string(), params).into())
    }

    /// Returns an open document and the byte of a position in it.
    fn at(&self, position: &TextDocumentPositionParams) -> Option<(&Document, usize)> {
        let document = self.documents.get(position.text_document.uri.as_str())?;
        Some((document, document.lines.byte(&document.source.text, position.position)))
    }

    fn hover(&self, params: &HoverParams) -> Option<Hover> {
        let (document, byte) = self.at(&params.text_document_position_params)?;
        let (value, span) = hover::hover(document, byte)?;
        let contents = HoverContents::Markup(MarkupContent { kind: MarkupKind::Markdown, value });
        Some(Hover { contents, range: Some(document.lines.range(&document.source.text, span)) })
    }

    fn complete(&self, params: &CompletionParams) -> Option<CompletionResponse> {
        let (document, byte) = self.at(&params.text_document_position)?;
        Some(CompletionResponse::Array(complete::complete(document, byte)))
    }

    fn definition(&self, params: &GotoDefinitionParams) -> Option<GotoDefinitionResponse> {
        let position = &params.text_document_position_params;
        let (document, byte) = self.at(position)?;
        let uri = &position.text_document.uri;
        let words = document.words();
        let word = names::word_at(&words, byte)?;
        if document.base.is_some_and(|base| base == word.span) {
            return base_file(document).map(GotoDefinitionResponse::Scalar);
        }
        let location = match names::definition_of(&words, word) {
            Some(definition) => location(document, uri, Spot::Here(definition.span)),
            None => {
                let whole = tokens(&document.whole.text);
                let definition = names::reference(&words, word)?.find(names::definitions(&whole))?;
                location(document, uri, document.spot_of_whole(definition.span))
            }
        };
        Some(GotoDefinitionResponse::Scalar(location?))
    }

    fn symbols(&self, params: &DocumentSymbolParams) -> Option<DocumentSymbolResponse> {
        let document = self.documents.get(params.text_document.uri.as_str())?;
        let symbols = names::definitions(&document.words()).into_iter().map(|definition| {
            let range = document.lines.range(&document.source.text, definition.span);
            #[expect(deprecated, reason = "the type has the field and no constructor")]
            DocumentSymbol {
                name: definition.name.to_string(),
                detail: None,
                kind: match definition.thing {
                    Thing::Model => SymbolKind::MODULE,
                    Thing::Let => SymbolKind::CONSTANT,
                    Thing::Block => SymbolKind::STRUCT,
                    Thing::Network => SymbolKind::FUNCTION,
                    Thing::State => SymbolKind::VARIABLE,
                    Thing::Loop => SymbolKind::KEY,
                },
                tags: None,
                deprecated: None,
                range,
                selection_range: range,
                children: None,
            }
        });
        Some(DocumentSymbolResponse::Nested(symbols.collect()))
    }

    /// Returns the mends of the problems at a range, unless the editor asks for actions of another kind.
    fn actions(&self, params: &CodeActionParams) -> Option<Vec<CodeAction>> {
        let uri = &params.text_document.uri;
        let document = self.documents.get(uri.as_str())?;
        let fits = |kind: &CodeActionKind| [CodeActionKind::EMPTY, CodeActionKind::QUICKFIX].contains(kind);
        if params.context.only.as_ref().is_some_and(|only| !only.iter().any(fits)) {
            return Some(Vec::new());
        }
        let shown = |text: &Source, problem: &Diagnostic| to_protocol(document, uri, text, problem);
        Some(actions::actions(document, uri, params.range, shown))
    }

    fn references(&self, params: &ReferenceParams) -> Option<Vec<Location>> {
        let position = &params.text_document_position;
        let (document, byte) = self.at(position)?;
        let with_given = params.context.include_declaration;
        rename::references(&self.documents, &position.text_document.uri, document, byte, with_given)
    }

    fn prepare_rename(&self, params: &TextDocumentPositionParams) -> Result<PrepareRenameResponse, String> {
        let (document, byte) = self.at(params).ok_or(NOT_OPEN)?;
        let (span, placeholder) =
            rename::prepare(&self.documents, &params.text_document.uri, document, byte)?;
        let range = document.lines.range(&document.source.text, span);
        Ok(PrepareRenameResponse::RangeWithPlaceholder { range, placeholder })
    }

    fn rename(&self, params: &RenameParams) -> Result<WorkspaceEdit, String> {
        let position = &params.text_document_position;
        let (document, byte) = self.at(position).ok_or(NOT_OPEN)?;
        let uri = &position.text_document.uri;
        rename::rename(&self.documents, uri, document, byte, &params.new_name).map(actions::edit_of)
    }

    fn hints(&self, params: &InlayHintParams) -> Option<Vec<InlayHint>> {
        let document = self.documents.get(params.text_document.uri.as_str())?;
        let text = &document.source.text;
        let byte = |position: Position| document.lines.byte(text, position);
        let (start, end) = (byte(params.range.start), byte(params.range.end));
        let hint = |(byte, label): (usize, String)| InlayHint {
            position: document.lines.position(text, byte),
            label: InlayHintLabel::String(label),
            kind: Some(InlayHintKind::TYPE),
            text_edits: None,
            tooltip: None,
            padding_left: None,
            padding_right: None,
            data: None,
        };
        Some(hints::hints(document, Span::new(start, end.max(start))).into_iter().map(hint).collect())
    }

    /// Returns the edit that lays a document out; none where it is laid out, or does not follow the grammar.
    fn format(&self, params: &DocumentFormattingParams) -> Option<Vec<TextEdit>> {
        let document = self.documents.get(params.text_document.uri.as_str())?;
        let text = &document.source.text;
        let formatted = syntax::format(&document.source).ok()?;
        if formatted == *text {
            return Some(Vec::new());
        }
        let whole = Range::new(Position::new(0, 0), document.lines.position(text, text.len()));
        Some(vec![TextEdit { range: whole, new_text: formatted }])
    }
}

/// Answers a request whose parameters can be read.
fn asked<P: DeserializeOwned, R: Serialize>(params: serde_json::Value, answer: impl FnOnce(P) -> R) -> Reply {
    asked_for(params, |params| Ok(answer(params)))
}

/// Answers a request whose parameters can be read, or says why it is not done.
fn asked_for<P: DeserializeOwned, R: Serialize>(
    params: serde_json::Value,
    answer: impl FnOnce(P) -> Result<R, String>,
) -> Reply {
    let params = serde_json::from_value(params)
        .map_err(|error| (ErrorCode::InvalidParams, format!("cannot read the parameters: {error}")))?;
    answer(params).map(|answer| json!(answer)).map_err(|why| (ErrorCode::RequestFailed, why))
}

/// Returns where to find a place; nothing if its file has no address.
fn location(document: &Document, uri: &Uri, spot: Spot) -> Option<Location> {
    match spot {
        Spot::Here(span) => {
            Some(Location { uri: uri.clone(), range: document.lines.range(&document.source.text, span) })
        }
        Spot::Elsewhere(path, text, span) => {
            Some(Location { uri: address::address(&path)?, range: Lines::of(&text).range(&text, span) })
        }
    }
}

/// Returns the beginning of the file of the base.
fn base_file(document: &Document) -> Option<Location> {
    let parsed = syntax::parse(&document.source);
    let base = parsed.file.bases().next()?;
    let path = Path::new(&document.source.name).parent()?.join(&base.path);
    Some(Location { uri: address::address(path.to_str()?)?, range: Range::default() })
}

fn to_protocol(
    document: &Document,
    uri: &Uri,
    text: &Source,
    diagnostic: &Diagnostic,
) -> lsp_types::Diagnostic {
    let mut message = diagnostic.message.clone();
    let mut related = Vec::new();
    let mut relate = |spot: Spot, text: &str| {
        let message = text.to_string();
        let location = location(document, uri, spot);
        related.extend(location.map(|location| DiagnosticRelatedInformation { location, message }));
    };
    let span = match document.spot(text, diagnostic.primary.span) {
        Spot::Here(span) => span,
        // An editor shows problems in the text that is open, so one of the base is shown at its name.
        elsewhere @ Spot::Elsewhere(..) => {
            if let Spot::Elsewhere(path, ..) = &elsewhere {
                message = format!("in the base `{path}`: {message}");
            }
            relate(elsewhere, &diagnostic.primary.text);
            document.base.unwrap_or(Span::new(0, 0))
        }
    };
    for label in &diagnostic.secondary {
        relate(document.spot(text, label.span), &label.text);
    }
    for note in &diagnostic.notes {
        message.push_str(&format!("\nnote: {note}"));
    }
    if let Some(help) = &diagnostic.help {
        message.push_str(&format!("\nhelp: {help}"));
    }
    lsp_types::Diagnostic {
        range: document.lines.range(&document.source.text, span),
        severity: Some(match diagnostic.severity {
            Severity::Error => DiagnosticSeverity::ERROR,
            Severity::Warning => DiagnosticSeverity::WARNING,
        }),
        code: Some(NumberOrString::String(diagnostic.code.as_str().to_string())),
        source: Some("hrmc".to_string()),
        message,
        related_information: Some(related).filter(|related| !related.is_empty()),
        ..lsp_types::Diagnostic::default()
    }
}
