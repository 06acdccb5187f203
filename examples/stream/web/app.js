"use strict";

const element = (id) => document.getElementById(id);
const form = (id) => new URLSearchParams(new FormData(element(id)));
let socket, events;

const hear = (list) => (message) => {
	const { from, text } = JSON.parse(message.data);
	element(list).prepend(Object.assign(document.createElement("li"), { textContent: from + ": " + text }));
};
const state = (stream, text, good = false) => {
	element(stream + "-end").textContent = text;
	element(stream + "-end").className = "state " + (good ? "good" : "bad");
};
const ended = (stream, text) => state(stream, text + " at " + new Date().toLocaleTimeString());

function openEvents() {
	events = new EventSource("/events"); // with the cookie
	events.onopen = () => state("events", "Open", true);
	events.onmessage = hear("events");
	// After the end of a stream, EventSource reconnects by itself ("retry"), with
	// the current cookie. So the server says why it ends a stream, and we close
	// it unless the server has shut down. Without a reason, the browser tries
	// again. Any response other than 200, such as 401 or 503, stops it (HTML
	// Standard §9.2). After "..._unavailable" a page may open a new one later.
	events.addEventListener("end", ({ data }) => {
		ended("events", "Ended: " + data);
		if (data !== "shutdown") events.close();
	});
	events.onerror = () => {
		if (events.readyState === EventSource.CLOSED) ended("events", "Refused: sign in again");
	};
}

async function openSocket() {
	const answer = await fetch("/ticket", { method: "POST" });
	if (!answer.ok) return ended("socket", "No ticket: sign in again");
	const { ticket } = await answer.json();
	const url = location.origin.replace("http", "ws") + "/socket";
	socket = new WebSocket(url, ["chat.v1", "bearer." + ticket]);
	socket.onopen = () => state("socket", "Open", true);
	socket.onmessage = hear("socket");
	// A WebSocket does not reconnect by itself. After 1001 or 1013, a page may try
	// again after a random time with a new ticket. After 1008, the user has to
	// sign in.
	socket.onclose = ({ code, reason }) => ended("socket", "Ended: " + code + " " + reason);
}

function show(user, status, bad = false) {
	element("chat").hidden = !user;
	element("login").hidden = Boolean(user);
	element("status").textContent = status;
	element("status").className = bad ? "state bad" : "";
}

async function begin(user) {
	show(user, "Signed in as " + user + ".");
	for (const stream of ["socket", "events"]) {
		state(stream, "Opening");
		element(stream).replaceChildren(); // messages sent before the socket is open are lost
	}
	openEvents();
	await openSocket();
}

element("login").addEventListener("submit", async (event) => {
	event.preventDefault();
	const answer = await fetch("/login", { method: "POST", body: form("login") });
	if (!answer.ok) return show("", "Wrong name or password.", true);
	await begin(form("login").get("username"));
});

// After a reload the cookie is still there.
if (document.body.dataset.user) begin(document.body.dataset.user);

element("chat").addEventListener("submit", (event) => {
	event.preventDefault();
	socket.send(form("chat").get("text"));
	event.target.reset();
});

for (const [id, path] of [["logout", "/logout"], ["everywhere", "/logout/everywhere"]]) {
	element(id).addEventListener("click", async () => {
		const answer = await fetch(path, { method: "POST" });
		// The server ends the streams.
		show("", answer.ok ? "Signed out. Watch the streams end." : "Not signed in any more.");
	});
}
