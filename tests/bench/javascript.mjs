// Sends a run, a log line and a counter by OpenTelemetry's SDK for JavaScript: `node javascript.mjs grpc|proto|http URL`.
import { context, trace } from '@opentelemetry/api';
import { resourceFromAttributes } from '@opentelemetry/resources';
import { BatchLogRecordProcessor, LoggerProvider } from '@opentelemetry/sdk-logs';
import { MeterProvider, PeriodicExportingMetricReader } from '@opentelemetry/sdk-metrics';
import { BatchSpanProcessor, NodeTracerProvider } from '@opentelemetry/sdk-trace-node';

const [protocol, url] = process.argv.slice(2);
const load = (signal) => import(`@opentelemetry/exporter-${signal}-otlp-${protocol}`);
const where = (path) => ({ url: protocol === 'grpc' ? url : `${url}/v1/${path}`, compression: 'gzip' });
const resource = resourceFromAttributes({ 'service.name': `js-${protocol}` });

const { OTLPTraceExporter } = await load('trace');
const { OTLPLogExporter } = await load('logs');
const { OTLPMetricExporter } = await load('metrics');
const tracers = new NodeTracerProvider({ resource, spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter(where('traces')))] });
const loggers = new LoggerProvider({ resource, processors: [new BatchLogRecordProcessor({ exporter: new OTLPLogExporter(where('logs')) })] });
const meters = new MeterProvider({ resource, readers: [new PeriodicExportingMetricReader({ exporter: new OTLPMetricExporter(where('metrics')) })] });

const tracer = tracers.getTracer('app', '1.0');
const run = tracer.startSpan('import', { attributes: { 'workflow.name': 'import', 'workflow.run.id': `js-${protocol}`, 'workflow.status': 'completed' } });
const inside = trace.setSpan(context.active(), run);
const step = tracer.startSpan('load', { attributes: { 'workflow.run.id': `js-${protocol}`, 'workflow.step.name': 'load', rows: 3, shares: [0.5, 1] } }, inside);
loggers.getLogger('app').emit({ body: 'loaded', severityText: 'INFO', context: trace.setSpan(context.active(), step) });
step.end();
run.end();
meters.getMeter('app').createCounter('rows').add(3, { table: 'orders' });
await Promise.all([tracers.forceFlush(), loggers.forceFlush(), meters.forceFlush()]);
await Promise.all([tracers.shutdown(), loggers.shutdown(), meters.shutdown()]);
