// Starts `hrmc lsp` and passes on what the editor asks. Plain JavaScript without dependencies, so that the
// folder works as it is, without a build.

"use strict";

const { spawn } = require("child_process");
const vscode = require("vscode");

const LANGUAGE = "hrm";

/** Talks to one server over its standard input and output. */
class Client {
  constructor(command, onNotification, onEnd) {
    this.onNotification = onNotification;
    this.lastId = 0;
    this.waiting = new Map();
    this.received = Buffer.alloc(0);
    this.isOpen = true;
    this.said = "";
    this.server = spawn(command, ["lsp"], { stdio: ["pipe", "pipe", "pipe"] });
    this.server.stdout.on("data", (bytes) => this.read(bytes));
    this.server.stderr.on("data", (bytes) => {
      this.said = (this.said + bytes).slice(-4096);
    });
    this.server.stdin.on("error", () => {});
    const ended = (why) => {
      if (!this.isOpen) return;
      this.isOpen = false;
      for (const { reject } of this.waiting.values()) reject(new Error(why));
      this.waiting.clear();
      onEnd(why);
    };
    this.server.on("error", (error) => ended(error.message));
    this.server.on("exit", (code) => ended(this.said.trim() || `it ended with code ${code}`));
  }

  write(message) {
    if (!this.isOpen) return;
    const body = Buffer.from(JSON.stringify({ jsonrpc: "2.0", ...message }), "utf8");
    this.server.stdin.write(`Content-Length: ${body.length}\r\n\r\n`);
    this.server.stdin.write(body);
  }

  tell(method, params) {
    this.write({ method, params });
  }

  ask(method, params) {
    if (!this.isOpen) return Promise.resolve(null);
    const id = ++this.lastId;
    return new Promise((resolve, reject) => {
      this.waiting.set(id, { resolve, reject });
      this.write({ id, method, params });
    });
  }

  read(bytes) {
    this.received = Buffer.concat([this.received, bytes]);
    for (;;) {
      const headEnd = this.received.indexOf("\r\n\r\n");
      if (headEnd < 0) return;
      const head = this.received.toString("ascii", 0, headEnd);
      const length = Number(/Content-Length: *(\d+)/i.exec(head)?.[1]);
      const bodyStart = headEnd + 4;
      if (!(this.received.length >= bodyStart + length)) return;
      const body = this.received.toString("utf8", bodyStart, bodyStart + length);
      this.received = this.received.subarray(bodyStart + length);
      this.take(JSON.parse(body));
    }
  }

  take(message) {
    if (message.method !== undefined) {
      this.onNotification(message.method, message.params);
      return;
    }
    const waiting = this.waiting.get(message.id);
    this.waiting.delete(message.id);
    if (message.error) waiting?.reject(new Error(message.error.message));
    else waiting?.resolve(message.result);
  }

  async stop() {
    await this.ask("shutdown", null);
    this.isOpen && this.write({ method: "exit" });
    this.isOpen = false;
  }
}

function toRange(range) {
  return new vscode.Range(range.start.line, range.start.character, range.end.line, range.end.character);
}

function toDiagnostic(found) {
  const severity =
    found.severity === 2 ? vscode.DiagnosticSeverity.Warning : vscode.DiagnosticSeverity.Error;
  const diagnostic = new vscode.Diagnostic(toRange(found.range), found.message, severity);
  diagnostic.source = found.source;
  diagnostic.code = found.code;
  diagnostic.relatedInformation = (found.relatedInformation ?? []).map(
    (related) =>
      new vscode.DiagnosticRelatedInformation(
        toLocation(related.location),
        related.message,
      ),
  );
  return diagnostic;
}

function toCompletion(item) {
  // The protocol counts kinds from 1, the editor from 0.
  const completion = new vscode.CompletionItem(item.label, item.kind - 1);
  completion.detail = item.detail;
  completion.sortText = item.sortText;
  if (item.documentation) completion.documentation = new vscode.MarkdownString(item.documentation.value);
  return completion;
}

function toSymbol(symbol) {
  // Kinds as above.
  const range = toRange(symbol.range);
  return new vscode.DocumentSymbol(symbol.name, "", symbol.kind - 1, range, toRange(symbol.selectionRange));
}

/** A range as the protocol writes it. */
function fromRange({ start, end }) {
  const position = ({ line, character }) => ({ line, character });
  return { start: position(start), end: position(end) };
}

function toLocation(location) {
  return new vscode.Location(vscode.Uri.parse(location.uri), toRange(location.range));
}

function toEdit(edit) {
  const changes = new vscode.WorkspaceEdit();
  for (const [uri, edits] of Object.entries(edit.changes ?? {})) {
    for (const one of edits) changes.replace(vscode.Uri.parse(uri), toRange(one.range), one.newText);
  }
  return changes;
}

function toAction(action, shown) {
  const result = new vscode.CodeAction(action.title, vscode.CodeActionKind.QuickFix);
  // The editor shows an action with the problem that it mends.
  const mended = action.diagnostics.map(toDiagnostic);
  result.diagnostics = shown.filter((one) =>
    mended.some((other) => other.message === one.message && other.range.isEqual(one.range)),
  );
  result.isPreferred = action.isPreferred;
  result.edit = toEdit(action.edit);
  return result;
}

function toHint(hint) {
  const position = new vscode.Position(hint.position.line, hint.position.character);
  // Kinds count from 1 in both.
  return new vscode.InlayHint(position, hint.label, hint.kind);
}

let client;

async function activate(context) {
  const found = vscode.languages.createDiagnosticCollection(LANGUAGE);
  const command = vscode.workspace.getConfiguration("hrm").get("server.path", "hrmc");
  const onNotification = (method, params) => {
    if (method === "textDocument/publishDiagnostics") {
      found.set(vscode.Uri.parse(params.uri), params.diagnostics.map(toDiagnostic));
    }
  };
  const onEnd = (why) => {
    vscode.window.showErrorMessage(`\`${command} lsp\` does not run: ${why}. Set \`hrm.server.path\`.`);
  };
  client = new Client(command, onNotification, onEnd);
  try {
    await client.ask("initialize", { processId: process.pid, rootUri: null, capabilities: {} });
  } catch {
    return;
  }
  client.tell("initialized", {});

  const address = (document) => ({ uri: document.uri.toString() });
  const place = (document, position) => ({
    textDocument: address(document),
    position: { line: position.line, character: position.character },
  });
  const open = (document) => {
    if (document.languageId !== LANGUAGE) return;
    const { languageId, version } = document;
    client.tell("textDocument/didOpen", {
      textDocument: { ...address(document), languageId, version, text: document.getText() },
    });
  };
  const change = ({ document }) => {
    if (document.languageId !== LANGUAGE) return;
    client.tell("textDocument/didChange", {
      textDocument: { ...address(document), version: document.version },
      contentChanges: [{ text: document.getText() }],
    });
  };
  const close = (document) => {
    if (document.languageId === LANGUAGE) {
      client.tell("textDocument/didClose", { textDocument: address(document) });
    }
  };
  vscode.workspace.textDocuments.forEach(open);

  context.subscriptions.push(
    found,
    vscode.workspace.onDidOpenTextDocument(open),
    vscode.workspace.onDidChangeTextDocument(change),
    vscode.workspace.onDidCloseTextDocument(close),
    vscode.languages.registerHoverProvider(LANGUAGE, {
      async provideHover(document, position) {
        const hover = await client.ask("textDocument/hover", place(document, position));
        return hover && new vscode.Hover(new vscode.MarkdownString(hover.contents.value), toRange(hover.range));
      },
    }),
    vscode.languages.registerCompletionItemProvider(
      LANGUAGE,
      {
        async provideCompletionItems(document, position) {
          const items = await client.ask("textDocument/completion", place(document, position));
          return (items ?? []).map(toCompletion);
        },
      },
      "=",
      "(",
    ),
    vscode.languages.registerDefinitionProvider(LANGUAGE, {
      async provideDefinition(document, position) {
        const target = await client.ask("textDocument/definition", place(document, position));
        return target && toLocation(target);
      },
    }),
    vscode.languages.registerDocumentSymbolProvider(LANGUAGE, {
      async provideDocumentSymbols(document) {
        const params = { textDocument: address(document) };
        const symbols = await client.ask("textDocument/documentSymbol", params);
        return (symbols ?? []).map(toSymbol);
      },
    }),
    vscode.languages.registerCodeActionsProvider(
      LANGUAGE,
      {
        async provideCodeActions(document, range, context) {
          const only = context.only && [context.only.value];
          const params = {
            textDocument: address(document),
            range: fromRange(range),
            context: { diagnostics: [], only },
          };
          const actions = await client.ask("textDocument/codeAction", params);
          return (actions ?? []).map((action) => toAction(action, context.diagnostics));
        },
      },
      { providedCodeActionKinds: [vscode.CodeActionKind.QuickFix] },
    ),
    vscode.languages.registerReferenceProvider(LANGUAGE, {
      async provideReferences(document, position, context) {
        const { includeDeclaration } = context;
        const params = { ...place(document, position), context: { includeDeclaration } };
        const found = await client.ask("textDocument/references", params);
        return (found ?? []).map(toLocation);
      },
    }),
    vscode.languages.registerRenameProvider(LANGUAGE, {
      // What cannot be renamed is refused with a message, which the editor shows.
      async prepareRename(document, position) {
        const { range, placeholder } = await client.ask("textDocument/prepareRename", place(document, position));
        return { range: toRange(range), placeholder };
      },
      async provideRenameEdits(document, position, newName) {
        return toEdit(await client.ask("textDocument/rename", { ...place(document, position), newName }));
      },
    }),
    vscode.languages.registerInlayHintsProvider(LANGUAGE, {
      async provideInlayHints(document, range) {
        const params = { textDocument: address(document), range: fromRange(range) };
        const hints = await client.ask("textDocument/inlayHint", params);
        return (hints ?? []).map(toHint);
      },
    }),
    vscode.languages.registerDocumentFormattingEditProvider(LANGUAGE, {
      async provideDocumentFormattingEdits(document) {
        const options = { tabSize: 2, insertSpaces: true };
        const params = { textDocument: address(document), options };
        const edits = await client.ask("textDocument/formatting", params);
        return (edits ?? []).map((edit) => vscode.TextEdit.replace(toRange(edit.range), edit.newText));
      },
    }),
  );
}

function deactivate() {
  return client?.stop();
}

module.exports = { activate, deactivate };
