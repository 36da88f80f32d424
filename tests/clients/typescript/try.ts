// Uses each operation of the entity API once, through a client that was generated from its OpenAPI document: the compiler checks that
// the document says enough, this program that it says the truth. Makes one todo and deletes it again.

import assert from "node:assert/strict";
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

type Todo = components["schemas"]["Todo"];
type Problem = components["schemas"]["Problem"];

const client = createClient<paths>({ baseUrl: process.argv[2] ?? "http://127.0.0.1:3600" });
const id = `client-${Date.now()}`;
const path = { id };
const step = (what: string) => console.log(`  ${what}`);

/**
 * The answer's data, when its status is the expected one: neither nothing, which only `Prefer: return=minimal` gets, nor text, which only a reader of
 * events gets.
 */
function expect<T>(answer: { data?: T; error?: unknown; response: Response }, status: number): Exclude<T, string | undefined> {
  assert.equal(answer.response.status, status, JSON.stringify(answer.error ?? answer.data));
  const { data } = answer;
  assert.ok(data !== undefined && typeof data !== "string", "the answer is JSON");
  return data as Exclude<T, string | undefined>;
}

/** The problem, when the request was refused as expected. */
function refused(answer: { error?: Problem; response: Response }, status: number, code: string): Problem {
  assert.equal(answer.response.status, status, JSON.stringify(answer));
  assert.equal(answer.response.headers.get("content-type"), "application/problem+json");
  const problem = answer.error;
  assert.ok(problem);
  assert.equal(problem.status, status);
  assert.equal(problem.type, `urn:k8sasbackend:problem:${code}`);
  return problem;
}

/** The version in quotes, as the header has it. */
function etag(response: Response): string {
  const tag = response.headers.get("etag");
  assert.ok(tag, "an ETag");
  return tag;
}

const kinds = expect(await client.GET("/v1"), 200);
const served = kinds.items.find((kind) => kind.kind === "Todo");
assert.ok(served?.owned, "the sample kind is served here and can be written");
step("listKinds");

const created = await client.POST("/v1/todos", { body: { id, when: "2030-01-01T10:00:00Z", message: "buy milk", meta: { labels: { by: id } } } });
const todo: Todo = expect(created, 201);
assert.equal(todo.id, id);
assert.equal(todo.done, false, "the default");
assert.equal(todo.meta.expiresAt, null);
assert.deepEqual(todo.meta.labels, { by: id });
assert.equal(created.response.headers.get("location"), `/v1/todos/${id}`);
assert.equal(etag(created.response), `"${todo.meta.version}"`);
const first = etag(created.response);
refused(await client.POST("/v1/todos", { body: { id, when: "2030-01-01T10:00:00Z", message: "again" } }), 409, "conflict");
const invalid = refused(await client.POST("/v1/todos", { body: { when: "2030-01-01T10:00:00Z", message: "" } }), 422, "invalid");
assert.equal(invalid.errors?.[0]?.pointer, "/message");
const dry = await client.POST("/v1/todos", { params: { query: { dryRun: true } }, body: { id: `${id}-dry`, when: "2030-01-01T10:00:00Z", message: "x" } });
expect(dry, 201);
refused(await client.GET("/v1/todos/{id}", { params: { path: { id: `${id}-dry` } } }), 404, "not-found");
step("createTodo");

const read = await client.GET("/v1/todos/{id}", { params: { path } });
assert.deepEqual(expect(read, 200), todo, "the answer to a write and the next read are the same");
const unchanged = await client.GET("/v1/todos/{id}", { params: { path, header: { "If-None-Match": first } }, parseAs: "text" });
assert.equal(unchanged.response.status, 304);
const through = await client.GET("/v1/todos/{id}", { params: { path, header: { "Cache-Control": "no-cache", "At-Least-Version": todo.meta.version } } });
assert.deepEqual(expect(through, 200), todo);
step("readTodo");

const found = expect(await client.GET("/v1/todos", { params: { query: { labelSelector: `by=${id}`, limit: 1 } } }), 200);
assert.deepEqual(found.items, [todo]);
assert.equal(found.nextPageToken, null);
step("listTodos");

// An entity is sent back as it was read, with a change.
const replaced = await client.PUT("/v1/todos/{id}", { params: { path, header: { "If-Match": first } }, body: { ...todo, message: "buy oat milk" } });
assert.equal(expect(replaced, 200).message, "buy oat milk");
refused(await client.PUT("/v1/todos/{id}", { params: { path, header: { "If-Match": first } }, body: todo }), 412, "precondition-failed");
refused(await client.PUT("/v1/todos/{id}", { params: { path, header: { "If-None-Match": "*" } }, body: todo }), 412, "precondition-failed");
step("replaceTodo");

const patched = await client.PATCH("/v1/todos/{id}", {
  params: { path, header: { "If-Match": etag(replaced.response) } },
  headers: { "Content-Type": "application/merge-patch+json" },
  body: { done: true, meta: { labels: { by: null, to: "nobody" } } },
});
const changed = expect(patched, 200);
assert.equal(changed.done, true);
assert.deepEqual(changed.meta.labels, { to: "nobody" });
step("patchTodo");

refused(await client.DELETE("/v1/todos/{id}", { params: { path, header: { "If-Match": first } } }), 412, "precondition-failed");
const deleted = await client.DELETE("/v1/todos/{id}", { params: { path } });
assert.equal(deleted.response.status, 204);
refused(await client.GET("/v1/todos/{id}", { params: { path } }), 404, "not-found");
step("deleteTodo");

console.log("all operations work");
