// One connection for the events of all tabs: a browser opens no more than six to one server.

const ports = new Set();
let source = null;
let heard = false;

const NAMES = ["status", "image", "changed", "learnt", "order", "measured", "folder", "people", "tuning"];

function spread(name, text = "{}") {
  for (const port of ports) port.postMessage([name, text]);
}

function connect() {
  source = new EventSource("../api/events");
  source.addEventListener("hello", () => {
    heard = true;
    spread("open");
  });
  for (const name of NAMES) source.addEventListener(name, (event) => spread(name, event.data));
  source.addEventListener("error", () => {
    heard = false;
    spread("lost");
    if (source.readyState === EventSource.CLOSED) setTimeout(connect, 1000);
  });
}

function welcome(port) {
  ports.add(port);
  port.onmessage = () => ports.delete(port); // the page leaves
  if (heard) port.postMessage(["open", "{}"]);
  else if (!source) connect();
}

if ("onconnect" in self) self.onconnect = (event) => welcome(event.ports[0]);
else self.onmessage = (event) => welcome(event.ports[0]);
