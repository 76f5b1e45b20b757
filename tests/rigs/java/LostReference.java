import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.SelectionKey;
import java.nio.channels.Selector;
import java.nio.channels.ServerSocketChannel;
import java.nio.channels.SocketChannel;

/**
 * lost-reference: an event loop answers, takes the channel off its selector and forgets to close
 * it. The collector does not help: a SocketChannel that nobody refers to stays open for ever.
 */
final class LostReference {
    private final Rig rig;
    private final Selector selector;

    private LostReference(Rig rig, Selector selector) {
        this.rig = rig;
        this.selector = selector;
    }

    public static void main(String[] arguments) throws IOException {
        Rig rig = new Rig(arguments);
        Selector selector = Selector.open();
        ServerSocketChannel server = ServerSocketChannel.open().bind(rig.address(), 4096);
        server.configureBlocking(false).register(selector, SelectionKey.OP_ACCEPT);
        rig.ready(server.socket().getLocalPort());
        new LostReference(rig, selector).runLoop(server);
    }

    private void runLoop(ServerSocketChannel server) throws IOException {
        while (true) {
            selector.select();
            for (SelectionKey key : selector.selectedKeys()) {
                if (key.isAcceptable()) register(server.accept());
                else if (key.isReadable()) answerAndForget(key);
            }
            selector.selectedKeys().clear();
        }
    }

    private void register(SocketChannel client) throws IOException {
        if (client != null) client.configureBlocking(false).register(selector, SelectionKey.OP_READ);
    }

    private void answerAndForget(SelectionKey key) throws IOException {
        SocketChannel client = (SocketChannel) key.channel();
        client.read(ByteBuffer.allocate(1024));
        client.write(ByteBuffer.wrap(Rig.REPLY));
        key.cancel();
        if (rig.healthy) client.close();
        rig.served();
    }
}
