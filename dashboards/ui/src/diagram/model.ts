/** A diagram as the collector sends it (plugins/README.md): Cloudflare's node types, and optional keys of our own. */

export type NodeType =
  | 'step_do'
  | 'step_sleep'
  | 'step_sleep_until'
  | 'step_wait_for_event'
  | 'loop'
  | 'parallel'
  | 'try'
  | 'block'
  | 'if'
  | 'switch'
  | 'start'
  | 'function_call'
  | 'function_def'
  | 'break';

export interface Branch {
  readonly condition?: string | null;
  readonly nodes?: readonly DiagramNode[];
}

export interface DiagramNode {
  readonly type: NodeType;
  readonly id?: string;
  readonly name?: string;
  readonly line?: number;
  readonly file?: string;
  readonly kind?: string;
  readonly discriminant?: string;
  readonly duration?: number | string;
  readonly timestamp?: string;
  readonly options?: { readonly event_type?: string; readonly timeout?: number | string } | null;
  readonly loop?: { readonly kind?: string; readonly over?: string; readonly condition?: string; readonly [key: string]: unknown } | null;
  readonly nodes?: readonly DiagramNode[];
  readonly branches?: readonly Branch[];
  readonly try_block?: Branch | null;
  readonly catch_block?: Branch | null;
  readonly finally_block?: Branch | null;
  readonly starts?: number;
  readonly resolves?: number;
}

export interface FunctionDef {
  readonly name: string;
  readonly nodes: readonly DiagramNode[];
  /** Where the function is a workflow: its name. A call of it is a run of its own. */
  readonly workflow?: string;
}

export interface Workflow {
  readonly class_name: string;
  readonly name?: string;
  readonly functions?: Readonly<Record<string, FunctionDef>>;
  readonly nodes: readonly DiagramNode[];
}

/** The answer of `api/v1/workflows/{name}/diagram`. */
export interface DiagramAnswer {
  readonly workflow: string;
  readonly version: string;
  readonly versions: readonly string[];
  /** Whether it is the version that this run is of. */
  readonly exact: boolean;
  /** The version that the run says it is of; empty where it says none. */
  readonly run_version: string;
  readonly state: 'none' | 'gathering' | 'waiting' | 'drawn' | 'failed';
  readonly error: string | null;
  readonly main: string;
  readonly created_ms: number;
  readonly graph: Workflow | null;
}

export interface SourceAnswer {
  readonly version: string;
  readonly main: string;
  readonly files: Readonly<Record<string, string>>;
}
