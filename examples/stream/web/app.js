"use strict";

const element = (id) => document.getElementById(id);
const form = (id) => new URLSearchParams(new FormData(element(id)));
let socket, events;

const hear = (list) => (message) => {
	const { from, text } = JSON.parse(message.data);
	element(list).prepend(Object.assign(document.createElement("li"), { textContent: from + ": " + text }));
};
const ended = (stream, text) => { element(stream + "-end").textContent = text; };

function openEvents() {
	events = new EventSource("/events"); // with the cookie
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
	socket.onmessage = hear("socket");
	// A WebSocket does not reconnect by itself. After 1001 or 1013, a page may try
	// again after a random time with a new ticket. After 1008, the user has to
	// sign in.
	socket.onclose = ({ code, reason }) => ended("socket", "Ended: " + code + " " + reason);
}

function signedIn(is, status) {
	for (const button of document.querySelectorAll("#logout, #everywhere, #chat button")) button.disabled = !is;
	element("login").querySelector("button").disabled = is;
	element("status").textContent = status;
}

element("login").addEventListener("submit", async (event) => {
	event.preventDefault();
	const answer = await fetch("/login", { method: "POST", body: form("login") });
	if (!answer.ok) return signedIn(false, "Wrong name or password.");
	signedIn(true, "Signed in as " + form("login").get("username") + ".");
	for (const stream of ["socket", "events"]) {
		ended(stream, "");
		element(stream).replaceChildren(); // messages sent before the socket is open are lost
	}
	openEvents();
	await openSocket();
});

element("chat").addEventListener("submit", (event) => {
	event.preventDefault();
	socket.send(form("chat").get("text"));
	event.target.reset();
});

for (const [id, path] of [["logout", "/logout"], ["everywhere", "/logout/everywhere"]]) {
	element(id).addEventListener("click", async () => {
		const answer = await fetch(path, { method: "POST" });
		// The server ends the streams.
		signedIn(false, answer.ok ? "Signed out." : "Not signed in any more.");
	});
}
