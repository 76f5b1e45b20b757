import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.OutputStream;
import java.util.concurrent.Executors;

/**
 * worker-starvation: the metrics endpoint of a Java server, as the Prometheus client library has
 * one: the JDK's own HTTP server with five workers. A scraper that stops reading keeps its worker
 * in write(2). With five of them nobody is left, and the dispatcher goes on accepting: every later
 * scrape is queued behind the workers, times out and closes, and its request is never read. The
 * healthy twin has a time limit for responses.
 */
final class MetricsEndpoint {
    private static final int WORKERS = 5;
    private static final byte[] CHUNK = "jvm_threads_state{state=\"WAITING\"} 4\n".repeat(2000).getBytes();
    /** More than a connection's buffers hold, so that a client which stops reading stops the writer. */
    private static final int CHUNKS = 1024;

    private final Rig rig;

    private MetricsEndpoint(Rig rig) {
        this.rig = rig;
    }

    public static void main(String[] arguments) throws IOException {
        Rig rig = new Rig(arguments);
        if (rig.healthy) {
            System.setProperty("sun.net.httpserver.maxRspTime", "1");
            System.setProperty("sun.net.httpserver.timerMillis", "50");
        }
        rig.warmUp = WORKERS;
        HttpServer server = HttpServer.create(rig.address(), 4096);
        server.createContext("/", new MetricsEndpoint(rig)::handle);
        server.setExecutor(Executors.newFixedThreadPool(WORKERS));
        server.start();
        rig.ready(server.getAddress().getPort());
    }

    /** Everything, or with ?name[]=… as much as was asked for. */
    private void handle(HttpExchange exchange) throws IOException {
        int chunks = exchange.getRequestURI().getRawQuery() == null ? CHUNKS : 1;
        exchange.getResponseHeaders().set("Content-Type", "text/plain; version=0.0.4");
        exchange.sendResponseHeaders(200, (long) chunks * CHUNK.length);
        rig.served();
        writeMetrics(exchange.getResponseBody(), chunks);
        exchange.close();
    }

    private static void writeMetrics(OutputStream body, int chunks) throws IOException {
        for (int i = 0; i < chunks; i++) body.write(CHUNK);
    }
}
