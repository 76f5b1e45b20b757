import java.io.IOException;
import java.net.Socket;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;

/**
 * idle-pool: a client that keeps its connections for the next request, as pools do that look at a
 * connection only when it is wanted. The server closes idle ones earlier. This rig is the client:
 * --port names the server. The healthy twin throws away what the server has closed.
 */
final class IdlePool {
    private final Rig rig;
    private final Deque<Socket> idle = new ArrayDeque<>();

    private IdlePool(Rig rig) {
        this.rig = rig;
    }

    public static void main(String[] arguments) throws IOException {
        Rig rig = new Rig(arguments);
        rig.connects = true;
        rig.ready(rig.port);
        IdlePool pool = new IdlePool(rig);
        List<Socket> busy = new ArrayList<>();
        for (int i = 0; i < rig.connections; i++) busy.add(pool.connect());
        for (Socket connection : busy) pool.ask(connection);
        for (Socket connection : busy) pool.takeAnswer(connection);
        if (rig.healthy) pool.evictDead();
        while (true) Rig.pause(1000);
    }

    private Socket connect() throws IOException {
        return new Socket(rig.address().getAddress(), rig.port);
    }

    private void ask(Socket connection) throws IOException {
        connection.getOutputStream().write("GET /item HTTP/1.1\r\nHost: pool\r\n\r\n".getBytes());
    }

    private void takeAnswer(Socket connection) throws IOException {
        connection.getInputStream().read(new byte[1024], 0, Rig.REPLY.length);
        idle.add(connection);
    }

    private void evictDead() throws IOException {
        for (Socket connection : idle) {
            if (connection.getInputStream().read() < 0) connection.close();
            rig.served();
        }
    }
}
